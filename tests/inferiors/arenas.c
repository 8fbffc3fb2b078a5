/* Eight threads, each with several heaps in an arena of its own; half of the chunks are freed, each by a thread
   that did not allocate it. */
#include "checkpoint.h"

enum { THREADS = 8 };

struct chunk {
	struct chunk *next;
};

static struct chunk *given[THREADS];
static pthread_barrier_t allocated, done;
static size_t target;

static void *thread(void *arg)
{
	size_t me = (size_t) arg;
	uint64_t seed = me;

	for (size_t total = 0; total < target;) {
		size_t size = between(&seed, 0, 3) ? between(&seed, 16, 2000) : between(&seed, 60000, 120000);
		struct chunk *c = malloc(size);
		if (!c)
			abort();
		total += size;
		if (between(&seed, 0, 1)) {
			c->next = given[me];
			given[me] = c;
		}
	}
	pthread_barrier_wait(&allocated);
	for (struct chunk *c = given[(me + 1) % THREADS], *next; c; c = next) {
		next = c->next;
		free(c);
	}
	park(&done);
}

int main(int argc, char **argv)
{
	target = argument(argc, argv, 150) << 20;
	free(malloc(100)); /* from glibc 2.43 this is when a thread gets its tcache */
	mallopt(M_ARENA_MAX, THREADS + 1);
	pthread_barrier_init(&allocated, NULL, THREADS);
	pthread_barrier_init(&done, NULL, THREADS + 1);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&(pthread_t) { 0 }, NULL, thread, (void *) i);
	pthread_barrier_wait(&done);
	checkpoint();
}
