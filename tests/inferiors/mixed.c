/* One thread's heap of random sizes, more than half freed: tcache, fast, unsorted, small and large bins and top all
   hold something. */
#include "checkpoint.h"

enum { STEPS = 6000, SPARES = 40 };

int main(int argc, char **argv)
{
	static void *live[STEPS], *spare[SPARES];
	uint64_t seed = argument(argc, argv, 1);
	size_t n = 0;

	for (int i = 0; i < SPARES; i++)
		spare[i] = malloc(i % 2 ? 40 : 2000);
	for (int step = 0; step < STEPS; step++) {
		size_t size = between(&seed, 16, 200000 >> between(&seed, 0, 13));
		live[n++] = memset(malloc(size), 'm', size);
		if (step % 2) {
			size_t i = between(&seed, 0, n - 1);
			free(live[i]);
			live[i] = live[--n];
		}
	}
	for (size_t i = 0; i < n; i += 2)
		free(live[i]);
	spare[0] = realloc(spare[0], 100000); /* sorts the bins */
	for (int i = 1; i < SPARES; i++) /* the small ones keep the others from coalescing */
		free(spare[i]);
	checkpoint();
}
