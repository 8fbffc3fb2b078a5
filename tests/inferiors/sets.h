/* Sets of chunks of which it is known how they are referred to. Each set has a size of its own, by which it is told.
   What the program knows goes to "known":

     set NAME SIZE REQUEST DEGREE CHUNKS   so many chunks of SIZE bytes, of which REQUEST were asked for
     at NAME ADDRESS                       what malloc returned for the first of them
     hidden NAME HOW                       what looks like a leak, and how it would be seen to be none

   The program itself keeps no pointer to a chunk but those that its sets are about. */
#ifndef SETS_H
#define SETS_H

#include "checkpoint.h"

enum { SIZES_FROM = 2056 }; /* above those of glibc's own chunks, but of stdio's buffers: 4,096 and more */

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
		next += 2 * sizeof(size_t);
}

static inline size_t chunk_size(size_t request)
{
	const size_t word = sizeof(size_t), page = sysconf(_SC_PAGESIZE);
	if (request >= 128 << 10) /* mmapped */
		return (request + 2 * word + page - 1) & -page;
	return (request + word + 2 * word - 1) & -(2 * word);
}

/* Enter a chunk that was allocated into the set. Its words are its set's number, in no way a pointer. */
static inline void *enter(void *chunk, enum degree degree)
{
	if (!chunk || (set->request < SIZES_FROM * 2 && malloc_usable_size(chunk) > chunk_size(set->request)))
		abort(); /* malloc gave a larger chunk than the others of its set */
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
				known("set %s %zu %zu %s %ld\n", s->name, chunk_size(s->request), s->request, degree_names[d],
				      s->chunks[d]);
		known("at %s %#lx\n", s->name, (unsigned long) (s->first ^ key));
	}
}

/* Leave nothing of what was called before in registers, nor below the stack pointer. */
__attribute__((noinline)) static void scrub(void)
{
	volatile char below[48 << 10];
	for (size_t i = 0; i < sizeof below; i++)
		below[i] = 0;
#ifdef __x86_64__
	__asm__ volatile("xor %%ecx, %%ecx; xor %%edx, %%edx; xor %%esi, %%esi; xor %%edi, %%edi\n\t"
			 "xor %%r8d, %%r8d; xor %%r9d, %%r9d; xor %%r10d, %%r10d; xor %%r11d, %%r11d"
			 ::: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile("vpxorq %zmm16, %zmm16, %zmm16; vpxorq %zmm17, %zmm17, %zmm17\n\t"
				 "vpxorq %zmm18, %zmm18, %zmm18; vpxorq %zmm19, %zmm19, %zmm19\n\t"
				 "vpxorq %zmm20, %zmm20, %zmm20; vpxorq %zmm21, %zmm21, %zmm21\n\t"
				 "vpxorq %zmm22, %zmm22, %zmm22; vpxorq %zmm23, %zmm23, %zmm23\n\t"
				 "vpxorq %zmm24, %zmm24, %zmm24; vpxorq %zmm25, %zmm25, %zmm25\n\t"
				 "vpxorq %zmm26, %zmm26, %zmm26; vpxorq %zmm27, %zmm27, %zmm27\n\t"
				 "vpxorq %zmm28, %zmm28, %zmm28; vpxorq %zmm29, %zmm29, %zmm29\n\t"
				 "vpxorq %zmm30, %zmm30, %zmm30; vpxorq %zmm31, %zmm31, %zmm31");
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroall");
	else
		__asm__ volatile("pxor %xmm0, %xmm0; pxor %xmm1, %xmm1; pxor %xmm2, %xmm2; pxor %xmm3, %xmm3");
#endif
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
	announce();
	scrub();
	rest();
}

#define SHOW(makers) show(makers, sizeof(makers) / sizeof *(makers))

#endif
