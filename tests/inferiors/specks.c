/* A thread's arena of so many heaps, of which every block but the last one in each is freed again: empty, but for
   a speck at the end. A second argument says in how many of the heaps the blocks were written to. */
#include "checkpoint.h"

enum { HEAP = 64 << 20, BLOCK = 64000, MOST = 1 << 16 };

static pthread_barrier_t done;
static int heaps, touched;

static size_t heap_of(void *block)
{
	return (size_t) block / HEAP;
}

static void *thread(void *arg)
{
	static char *blocks[MOST];
	int number = 0, full = 0;

	(void) arg;
	for (; full < heaps && number < MOST; number++) {
		char *block = blocks[number] = malloc(BLOCK);
		if (full < touched)
			memset(block, 1, BLOCK);
		full += number && heap_of(block) != heap_of(blocks[number - 1]);
	}
	for (int i = 0; i + 1 < number; i++)
		if (heap_of(blocks[i]) == heap_of(blocks[i + 1]))
			free(blocks[i]);
		else
			known("%zx %zx\n", heap_of(blocks[i]) * HEAP, (size_t) blocks[i]);
	park(&done);
}

int main(int argc, char **argv)
{
	heaps = (int) argument(argc, argv, 40);
	touched = argc > 2 ? atoi(argv[2]) : 0;
	pthread_barrier_init(&done, NULL, 2);
	pthread_create(&(pthread_t) { 0 }, NULL, thread, NULL);
	pthread_barrier_wait(&done);
	checkpoint();
}
