/* Threads with an arena each, and mmapped chunks of 2 MB that the kernel puts beside the arenas' heaps. */
#include "checkpoint.h"

enum { THREADS = 8, SIZE = 2000000 };

static pthread_barrier_t done;
static size_t chunks;

static void *work(void *unused)
{
	(void) unused;
	for (size_t i = 0; i < chunks; i++) {
		char *small = malloc(1000), *mapped = malloc(SIZE);
		memset(small, 's', 1000);
		memset(mapped, 'm', SIZE);
	}
	park(&done);
}

int main(int argc, char **argv)
{
	chunks = argument(argc, argv, 25);
	pthread_barrier_init(&done, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, work, NULL))
			abort();
	}
	pthread_barrier_wait(&done);
	checkpoint();
}
