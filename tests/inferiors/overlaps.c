/* What several lead to: variables of the program and of threads, and words on stacks that nobody uses any more. What the
   program knows goes to "known":

     holds KIND TID ALONE NEAREST SHARED NAME
         bytes that would be unreachable without it; those of others, too, to which the shortest way is from it, where
         variables come before threads' variables, these before glibc's own, and these before stacks, and what is in
         streams' buffers last; all that it leads to together with others

   Bytes are those of chunks. */
#include "checkpoint.h"
#include "scrub.h"

#include <syslog.h>

#define NODES 4000
#define TAKEN 10 /* links from one thread's word to the other's, in a list that only they lead to */

struct node {
	struct node *next, *other;
	long payload[14];
};

struct node *large;	     /* a list: to its head and its middle leads what a worker's stack has left */
struct node *table[50];	     /* lists, of which a stack leads into one */
struct node *left, *right;   /* lists that go on as one */
__thread struct node *mine;  /* a list: to its middle leads another thread's stack */
__thread struct node *named; /* a list: to its head leads a variable of glibc's, too */
static struct node *unnamed, *lent; /* only while threads are started */
static pthread_barrier_t ready;

static long bytes_of(long nodes)
{
	static long size;
	if (!size) {
		void *one = malloc(sizeof(struct node));
		size = (long) (malloc_usable_size(one) + sizeof(size_t));
		free(one);
	}
	return nodes * size;
}

static struct node *a_list(long nodes, struct node *behind)
{
	for (; nodes; nodes--) {
		struct node *node = malloc(sizeof *node);
		memset(node, -1, sizeof *node);
		node->next = behind;
		behind = node;
	}
	return behind;
}

static struct node *nth(struct node *node, long number)
{
	while (number--)
		node = node->next;
	return node;
}

static void holds(const char *kind, long tid, long alone, long nearest, long shared, const char *name)
{
	known("holds %s %ld %ld %ld %ld %s\n", kind, tid, bytes_of(alone), bytes_of(nearest), bytes_of(shared), name);
}

/* A stream that stays open, and has in its buffer what was written long ago.  */
static void leave_written(struct node *node)
{
	FILE *file = fopen("/dev/null", "w");
	if (!file || fwrite(&node, sizeof node, 1, file) != 1 || fflush(file))
		abort();
}

__attribute__((noinline)) static void fill(void)
{
	large = a_list(NODES, NULL);
	holds("global", 0, 0, NODES, NODES, "large");
	for (int i = 0; i < 50; i++)
		table[i] = a_list(30, NULL);
	holds("global", 0, 50 * 30 - 20, 20, 20, "table");
	struct node *both = a_list(300, NULL);
	left = a_list(5, both);
	right = a_list(9, both);
	holds("global", 0, 5, 300, 300, "left");
	holds("global", 0, 9, 0, 300, "right");
	unnamed = a_list(500, NULL);
	leave_written(unnamed);
}

/* What was on a stack before, and isn't overwritten: words that a function has in its frame, and never looks at. */
static void *old(void *given)
{
	int last = given != NULL;
	struct node *volatile stale[] = {
		last ? large : nth(large, NODES / 2),
		last ? nth(table[7], 10) : NULL,
		last ? nth(unnamed, TAKEN) : unnamed,
		last ? nth(lent, 40) : NULL,
	};
	mine = last ? NULL : a_list(100, NULL);
	if (last) {
		holds("stack", gettid(), 0, 500 - TAKEN, 500 - TAKEN + NODES + 20 + 60, "stack");
	} else {
		holds("tls", gettid(), 40, 60, 60, "mine");
		named = a_list(70, NULL);
		openlog((char *) named, 0, LOG_USER);
		holds("tls", gettid(), 0, 70, 70, "named");
		holds("stack", gettid(), 0, TAKEN, 500 + NODES / 2, "stack");
		pthread_t id;
		lent = mine;
		pthread_create(&id, NULL, old, (void *) 1);
	}
	scrub();
	(void) stale;
	park(&ready);
}

int main(void)
{
	pthread_t id;
	fill();
	pthread_barrier_init(&ready, NULL, 3);
	pthread_create(&id, NULL, old, NULL);
	pthread_barrier_wait(&ready);
	unnamed = lent = NULL;
	figures();
	scrub();
	announce();
	rest();
}
