/* A million chunks of every fast size, freed out of address order among live ones and not consolidated; with
   glibc.malloc.tcache_count=0 all of them are in fastbins. */
#include "checkpoint.h"

enum { STEP = 16, STRIDE = 611953 /* a prime */ };

int main(int argc, char **argv)
{
	size_t n = argument(argc, argv, 1000000), smallest = 4 * sizeof(size_t), largest = 16 * sizeof(size_t);
	size_t classes = (largest - smallest) / STEP + 1;

	if (n % STRIDE == 0)
		n++;
	void **chunks = malloc(n * sizeof *chunks);
	for (size_t i = 0; i < n; i++) {
		chunks[i] = malloc(smallest + i % classes * STEP - sizeof(size_t));
		if (i % 4 == 0)
			malloc(40);
	}
	for (size_t i = 0; i < n; i++)
		free(chunks[(uint64_t) i * STRIDE % n]);
	known("freed %zu\n", n);
	checkpoint();
}
