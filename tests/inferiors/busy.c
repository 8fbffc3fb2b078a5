/* Threads, or main alone when there are none, that allocate and free for ever. */
#include "checkpoint.h"

enum { SLOTS = 256 };

static void *churn(void *arg)
{
	void *slots[SLOTS] = { 0 };
	uint64_t seed = (size_t) arg;

	for (;;) {
		size_t i = between(&seed, 0, SLOTS - 1);
		free(slots[i]);
		slots[i] = malloc(between(&seed, 16, 200000 >> between(&seed, 0, 13)));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	size_t threads = argument(argc, argv, 4);

	for (size_t i = 0; i < threads; i++)
		pthread_create(&(pthread_t) { 0 }, NULL, churn, (void *) i);
	announce();
	if (!threads)
		churn(NULL);
	rest();
}
