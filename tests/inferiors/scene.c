/* Something of everything, and little of it: threads with tcaches, an arena of two heaps, every kind of bin, mmapped
   chunks, tops that are mostly untouched. What is written is all the same, so that a recorded image is small. */
#include "checkpoint.h"

enum { THREADS = 3, STEPS = 900, SPARES = 24, KIB = 1 << 10 };

static pthread_barrier_t done;

/* As in mixed.c, with fewer chunks, none of which has a mapping. */
static void mix(uint64_t seed)
{
	void *live[STEPS], *spare[SPARES];
	size_t n = 0;

	for (int i = 0; i < SPARES; i++)
		spare[i] = malloc(i % 2 ? 40 : 2000);
	for (int step = 0; step < STEPS; step++) {
		size_t size = between(&seed, 16, (40 * KIB) >> between(&seed, 0, 11));
		live[n++] = memset(malloc(size), 'm', size);
		if (step % 3) {
			size_t i = between(&seed, 0, n - 1);
			free(live[i]);
			live[i] = live[--n];
		}
	}
	for (size_t i = 0; i < n; i += 2)
		free(live[i]);
	spare[0] = realloc(spare[0], 50 * KIB); /* sorts the bins */
	for (int i = 1; i < SPARES; i++) /* the small ones keep the others from coalescing */
		free(spare[i]);
}

/* The last thread needs a second heap. */
static void *thread(void *arg)
{
	size_t me = (size_t) arg, heap_max = sizeof(long) == 8 ? 64 << 20 : 1 << 20;
	char name[16];

	snprintf(name, sizeof name, "worker-%zu", me);
	pthread_setname_np(pthread_self(), name);
	if (me == THREADS) {
		char *large[3] = { malloc(heap_max / 8 * 3), malloc(heap_max / 8 * 3), malloc(heap_max / 8 * 3) };
		free(large[1]);
	}
	mix(me);
	park(&done);
}

int main(void)
{
	static char *mapped[6];
	void *aligned;

	for (int i = 0; i < 6; i++)
		*(mapped[i] = malloc((size_t) (200 + 60 * i) * KIB)) = 'x';
	if (posix_memalign(&aligned, 64 * KIB, 300 * KIB))
		abort();
	free(mapped[2]);
	mallopt(M_MMAP_THRESHOLD, sizeof(long) == 8 ? 32 << 20 : 512 << 10);
	mallopt(M_TOP_PAD, 600 * KIB);
	pthread_barrier_init(&done, NULL, 2);
	for (size_t i = 1; i <= THREADS; i++) { /* one by one, so that all is the same every time */
		pthread_create(&(pthread_t) { 0 }, NULL, thread, (void *) i);
		pthread_barrier_wait(&done);
	}
	mix(9);
	checkpoint();
}
