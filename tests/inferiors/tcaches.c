/* Sixteen threads whose tcaches hold a known number of chunks in each of twelve bins, from none to seven. */
#include "checkpoint.h"
#include <sys/syscall.h>

enum { THREADS = 16, BINS = 12, MOST = 8 };

static pthread_barrier_t done;
static long tids[THREADS];

static size_t chunk_size(int bin)
{
	return 80 + 64 * bin;
}

static int count(int thread, int bin)
{
	return (thread + bin) % MOST;
}

static void *thread(void *arg)
{
	int me = (int) (size_t) arg;
	void *chunks[BINS][MOST];

	tids[me] = syscall(SYS_gettid);
	for (int b = 0; b < BINS; b++)
		for (int i = 0; i < count(me, b); i++)
			chunks[b][i] = malloc(chunk_size(b) - sizeof(size_t));
	for (int b = 0; b < BINS; b++)
		for (int i = 0; i < count(me, b); i++)
			free(chunks[b][i]);
	park(&done);
}

int main(void)
{
	pthread_barrier_init(&done, NULL, THREADS + 1);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&(pthread_t) { 0 }, NULL, thread, (void *) i);
	pthread_barrier_wait(&done);
	for (int t = 0; t < THREADS; t++)
		for (int b = 0; b < BINS; b++)
			known("%ld %zu %d\n", tids[t], chunk_size(b), count(t, b));
	checkpoint();
}
