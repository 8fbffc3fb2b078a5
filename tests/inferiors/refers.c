/* A chunk, and what refers to it: "refers KIND LWP OFFSET NAME" for each word, OFFSET into the variable NAME, or into
   the chunk whose address that is; and "chunk ADDRESS". A second thread waits in a function of its own. */
#include "checkpoint.h"
#include "scrub.h"

enum { SIZE = 5000, INSIDE = 100 };

struct holder {
	long number;
	char *held;
};

volatile struct holder variable;
static char *volatile array[4];
static __thread volatile struct holder local;
static pthread_barrier_t ready;
static char *chunk;
static void *volatile sink;

static void tell(const char *kind, long lwp, long offset, const char *name)
{
	known("refers %s %ld %ld %s\n", kind, lwp, offset, name);
}

__attribute__((noinline)) static void wait_with(char *held)
{
	struct holder here = { 1, held };
	sink = &here;
	tell("stack", gettid(), offsetof(struct holder, held), "here");
	held = NULL;
	scrub();
	pthread_barrier_wait(&ready);
	for (;;)
		pause();
}

static void *work(void *unused)
{
	local.held = chunk;
	tell("tls", gettid(), offsetof(struct holder, held), "local");
	wait_with(chunk);
	return unused;
}

int main(void)
{
	chunk = malloc(SIZE);
	char **other = malloc(SIZE);
	memset(chunk, -1, SIZE);
	memset(other, -1, SIZE);
	known("chunk %p\n", (void *) chunk);
	other[3] = chunk + INSIDE;
	array[2] = variable.held = chunk;
	tell("global", 0, offsetof(struct holder, held), "variable");
	tell("global", 0, 2 * sizeof *array, "array");
	tell("global", 0, 0, "chunk");
	char name[32];
	snprintf(name, sizeof name, "%p", (void *) other);
	tell("chunk", 0, 3 * sizeof *other, name);
	other = NULL;
	pthread_t id;
	pthread_barrier_init(&ready, NULL, 2);
	pthread_create(&id, NULL, work, NULL);
	pthread_barrier_wait(&ready);
	figures();
	scrub();
	announce();
	rest();
}
