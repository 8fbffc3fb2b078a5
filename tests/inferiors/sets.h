/* Sets of chunks of which it is known how they are referred to. Each set has a size of its own, by which it is told.
   What the program knows goes to "known":

     set NAME SIZE REQUEST DEGREE CHUNKS   so many chunks of SIZE bytes, of which REQUEST were asked for
     at NAME ADDRESS                       what malloc returned for the first of them
     hidden NAME HOW                       what looks like a leak, and how it would be seen to be none

   The program itself keeps no pointer to a chunk but those that its sets are about. */
#ifndef SETS_H
#define SETS_H

#include "checkpoint.h"
#include "scrub.h"

enum { SIZES_FROM = 6152, SIZES_STEP = 64 }; /* above glibc's own chunks: stdio's buffers have 4,096 bytes */

enum degree {
	REACHABLE, /* by pointers to the start of chunks */
	INTERIOR,  /* only if pointers to the inside count, too */
	RED_ZONE,  /* only from the 128 bytes below a stack pointer */
	LEAKED,    /* by nothing: what would have to be freed first */
	INDIRECT,  /* only by what is leaked */
	DEGREES
};

static const char *const degree_names[] = { "reachable", "interior", "red_zone", "leaked", "indirect" };

static struct set {
	const char *name;
	size_t request;
	long chunks[DEGREES];
	int mmapped;
	uintptr_t first; /* hidden */
} sets[96];

static struct set *set = sets - 1;
static uintptr_t key = (uintptr_t) 0xa5c3e1f00f1e3c5a; /* turns a pointer into none, and back; not by a mask of bits */

/* Begin a set. Without a size it gets the next one that no other has. */
static inline void begin(const char *name, size_t request)
{
	static size_t next = SIZES_FROM;
	set++;
	if (set == sets + sizeof sets / sizeof *sets)
		abort();
	set->name = name;
	set->request = request ? request : next;
	if (!request)
		next += SIZES_STEP;
}

static inline size_t chunk_size(const struct set *s)
{
	const size_t word = sizeof(size_t), page = sysconf(_SC_PAGESIZE);
	if (s->mmapped)
		return (s->request + 2 * word + page - 1) & -page;
	return (s->request + word + 2 * word - 1) & -(2 * word);
}

/* Tell whether malloc gave as much as was asked for. It gives more where the rest would be no chunk, and whole pages
   where the chunk has a mapping of its own. */
static inline int fits(void *chunk)
{
	size_t usable = malloc_usable_size(chunk);
	set->mmapped = usable > set->request + 4 * sizeof(size_t);
	return set->mmapped || usable <= chunk_size(set);
}

/* Enter a chunk that was allocated into the set. Its words are its set's number, in no way a pointer. */
static inline void *enter(void *chunk, enum degree degree)
{
	if (!chunk || !fits(chunk))
		abort();
	for (size_t i = 0; i < set->request / sizeof(size_t); i++)
		((size_t *) chunk)[i] = ~(size_t) (set - sets);
	if (!set->first)
		set->first = (uintptr_t) chunk ^ key;
	set->chunks[degree]++;
	return chunk;
}

static inline void *get(enum degree degree)
{
	return enter(malloc(set->request), degree);
}

static inline void hidden(const char *how)
{
	known("hidden %s %s\n", set->name, how);
}

static inline void tell_sets(void)
{
	for (struct set *s = sets; s <= set; s++) {
		for (int d = 0; d < DEGREES; d++)
			if (s->chunks[d])
				known("set %s %zu %zu %s %ld\n", s->name, chunk_size(s), s->request, degree_names[d],
				      s->chunks[d]);
		known("at %s %#lx\n", s->name, (unsigned long) (s->first ^ key));
	}
}

/* Make sets, one after the other; then rest. Nothing that happened on the way is still to be seen. */
_Noreturn static inline void show(void (*const makers[])(void), size_t count)
{
	for (size_t i = 0; i < count; i++) {
		makers[i]();
		scrub();
	}
	figures();
	tell_sets();
	scrub();
	announce(); /* only now: whoever waits for it may look at once */
	rest();
}

#define SHOW(makers) show(makers, sizeof(makers) / sizeof *(makers))

#endif
