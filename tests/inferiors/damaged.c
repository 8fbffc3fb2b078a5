/* One wrong word in a thread's arena or tcache: "size", "tcache", "bin" or "top". The main arena is sound, and the
   figures are those from before the damage. */
#include "checkpoint.h"

static pthread_barrier_t done;
static void *used, *binned, *cached[3], *last;

static void *thread(void *arg)
{
	used = malloc(1000);
	binned = malloc(2000);
	for (int i = 0; i < 3; i++)
		cached[i] = malloc(100);
	last = malloc(500);
	free(binned);
	for (int i = 0; i < 3; i++)
		free(cached[i]);
	park(arg);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	uintptr_t garbage = (uintptr_t) 0xdeadbeefdeadbeef, *word;

	pthread_barrier_init(&done, NULL, 2);
	pthread_create(&(pthread_t) { 0 }, NULL, thread, &done);
	pthread_barrier_wait(&done);
	figures();
	if (!strcmp(what, "size"))
		word = (uintptr_t *) used - 1;
	else if (!strcmp(what, "tcache"))
		word = cached[2], garbage = *word ^ (uintptr_t) cached[1] ^ (uintptr_t) word; /* however links are stored */
	else if (!strcmp(what, "bin"))
		word = binned;
	else if (!strcmp(what, "top"))
		word = (uintptr_t *) ((char *) last + malloc_usable_size(last)), garbage = 1 << 30 | 1;
	else
		return 2;
	*word = garbage;
	known("address %p\n", (void *) word);
	announce();
	rest();
}
