/* Sets of chunks in use by who refers to them, and how (sets.h): all of them made by one thread. With the argument
   "list" and a number: two lists of so many nodes, one of them leaked. With "stale": what links of malloc's that were
   left in chunks lead to. */
#include "sets.h"
#include <sys/mman.h>

#define EACH(array) for (size_t i = 0; i < sizeof(array) / sizeof *(array); i++)

struct node {
	struct node *next, *other;
};

void *global[3]; /* in .bss */
void *initialised[2] = { &global, &global };
void *interior[3], *last_word[2], *past_end[2], *above[2];
void *from_chunk, *from_mmapped, *tree, *list, *mmapped, *aligned[2], *handed[2];
FILE *opened;

static void by_global(void)
{
	begin(__func__, 0);
	EACH(global)
		global[i] = get(REACHABLE);
}

static void by_initialised(void)
{
	begin(__func__, 0);
	EACH(initialised)
		initialised[i] = get(REACHABLE);
}

static void by_static_local(void)
{
	__attribute__((used)) static void *mine;
	begin(__func__, 0);
	mine = get(REACHABLE);
}

static void by_library(void)
{
	void *library = dlopen("$ORIGIN/held.so", RTLD_NOW);
	if (!library) {
		put(STDERR_FILENO, "%s\n", dlerror());
		abort();
	}
	begin(__func__, 0);
	void **theirs = dlsym(library, "held");
	for (int i = 0; i < 4; i++)
		theirs[i] = get(REACHABLE);
}

static void by_tls_of_library(void)
{
	void *(*tls)(void) = (void *(*)(void)) dlsym(dlopen("$ORIGIN/held.so", RTLD_NOW | RTLD_NOLOAD), "held_tls");
	begin(__func__, 0);
	*(void **) tls() = get(REACHABLE);
}

static void by_tls(void)
{
	static __thread void *volatile mine[2];
	begin(__func__, 0);
	EACH(mine)
		mine[i] = get(REACHABLE);
}

/* The first 32 keys have their values in struct pthread, others in a chunk of their own. */
static void by_pthread_key(void)
{
	pthread_key_t key_;
	begin(__func__, 0);
	pthread_key_create(&key_, NULL);
	pthread_setspecific(key_, get(REACHABLE));
}

static void by_later_pthread_key(void)
{
	pthread_key_t key_ = 0;
	begin(__func__, 0);
	while (key_ < 70)
		pthread_key_create(&key_, NULL);
	pthread_setspecific(key_, get(REACHABLE));
}

static void by_chunk(void)
{
	begin(__func__, 0);
	void **first = from_chunk = get(REACHABLE);
	for (int i = 1; i < 10; i++)
		first[10 * i] = get(REACHABLE);
}

/* The last word that fits is the first of the next chunk's header: its prev_size. */
static void by_last_word_of_chunk(void)
{
	begin(__func__, 0);
	void **outer = above[0] = get(REACHABLE);
	outer[set->request / sizeof *outer - 1] = get(REACHABLE);
}

static void by_mmapped(void)
{
	begin("mmapped", 300000);
	char *outer = from_mmapped = get(REACHABLE);
	begin(__func__, 0);
	*(void **) (outer + 200000) = get(REACHABLE);
}

static void *map(int flags)
{
	void *pages = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (pages == MAP_FAILED)
		abort();
	return pages;
}

static void by_anonymous_mapping(void)
{
	begin(__func__, 0);
	void **pages = map(MAP_PRIVATE | MAP_ANONYMOUS);
	pages[70000] = get(REACHABLE);
	pages[100000] = get(REACHABLE);
}

static void by_shared_mapping(void)
{
	begin(__func__, 0);
	void **pages = map(MAP_SHARED | MAP_ANONYMOUS);
	pages[70000] = get(LEAKED);
	hidden("shared");
}

static void by_tree(void)
{
	void **at = &tree;
	begin(__func__, 0);
	for (int i = 0; i < 15; i++) {
		struct node *node = get(REACHABLE);
		node->next = tree;
		node->other = *at;
		*at = node;
		at = i % 2 ? &tree : (void **) &node->other;
	}
}

static void by_interior_only(void)
{
	begin(__func__, 0);
	EACH(interior)
		interior[i] = (char *) get(INTERIOR) + 16 + i;
}

static void by_last_word(void)
{
	begin(__func__, 0);
	EACH(last_word)
		last_word[i] = (char *) get(INTERIOR) + set->request - sizeof(void *);
}

/* What hangs from such a chunk is as well referred to as that is, and no better. */
static void below_interior(void)
{
	begin(__func__, 0);
	void **outer = get(INTERIOR);
	above[1] = outer + 1;
	outer[3] = get(INTERIOR);
}

/* No reference: what lies there is the next chunk's. */
static void by_past_end(void)
{
	begin(__func__, 0);
	EACH(past_end)
	{
		char *chunk = get(LEAKED);
		past_end[i] = chunk + malloc_usable_size(chunk);
	}
}

static void on_heads(int heads, int each)
{
	for (int i = 0; i < heads; i++) {
		void **head = get(LEAKED), **middle = head[3] = get(INDIRECT);
		for (int k = 0; k < each; k++)
			middle[k] = get(INDIRECT);
	}
}

static void leaked(void)
{
	begin(__func__, 0);
	for (int i = 0; i < 25; i++)
		get(LEAKED);
}

static void leaked_heads(void)
{
	begin(__func__, 0);
	on_heads(5, 7);
}

/* Two heads that share what hangs from them. */
static void leaked_diamond(void)
{
	begin(__func__, 0);
	struct node *left = get(LEAKED), *right = get(LEAKED), *below = get(INDIRECT);
	left->next = right->next = below;
	below->next = get(INDIRECT);
}

static void leaked_tree(void)
{
	begin(__func__, 0);
	struct node *nodes[31];
	EACH(nodes) {
		nodes[i] = get(i ? INDIRECT : LEAKED);
		if (i)
			*(i % 2 ? &nodes[(i - 1) / 2]->next : &nodes[(i - 1) / 2]->other) = nodes[i];
	}
	memset(nodes, 0, sizeof nodes);
}

static void leaked_interior(void)
{
	begin(__func__, 0);
	struct node *head = get(LEAKED);
	head->next = (struct node *) ((char *) get(INDIRECT) + 24);
}

static void self_cycles(void)
{
	begin(__func__, 0);
	for (int i = 0; i < 3; i++) {
		struct node *one = get(LEAKED);
		one->next = one;
	}
}

static void cycles_of_two(void)
{
	begin(__func__, 0);
	for (int i = 0; i < 4; i++) {
		struct node *one = get(LEAKED), *two = get(INDIRECT);
		one->next = two;
		two->next = one;
	}
}

static struct node *a_ring(int nodes)
{
	struct node *first = get(INDIRECT), *last = first;
	for (int i = 1; i < nodes; i++)
		last = last->next = get(INDIRECT);
	return last->next = first;
}

/* Tails that hang from a ring: one head, which is in the ring. */
static void ring_with_tails(void)
{
	begin(__func__, 0);
	struct node *at = a_ring(60);
	set->chunks[INDIRECT]--;
	set->chunks[LEAKED]++;
	for (int i = 0; i < 20; i++, at = at->next) {
		at->other = get(INDIRECT);
		at->other->next = get(INDIRECT);
	}
}

/* Tails that lead into a ring: their beginnings are the heads. */
static void ring_below_tails(void)
{
	begin(__func__, 0);
	struct node *at = a_ring(50);
	for (int i = 0; i < 5; i++, at = at->next->next) {
		struct node *tail = get(LEAKED);
		tail->next = get(INDIRECT);
		tail->next->next = at;
	}
}

static void stay(void *chunk)
{
	static void *volatile guards[64], *volatile *at = guards;
	*at++ = chunk;
}

static void *get_aligned(size_t alignment, enum degree degree)
{
	void *chunk;
	while (!fits(chunk = memalign(alignment, set->request)))
		stay(chunk);
	return enter(chunk, degree);
}

static void leaked_aligned(void)
{
	begin(__func__, 0);
	for (int i = 0; i < 3; i++)
		get_aligned(1024, LEAKED);
}

static void by_aligned(void)
{
	begin(__func__, 0);
	EACH(aligned)
		aligned[i] = get_aligned(4096, REACHABLE);
}

static void leaked_mmapped(void)
{
	begin(__func__, 400000);
	get(LEAKED);
	get(LEAKED);
}

static void by_xored(void)
{
	__attribute__((used)) static uintptr_t xored;
	begin(__func__, 0);
	xored = (uintptr_t) get(LEAKED) ^ key;
	hidden("xor");
}

static void by_misaligned(void)
{
	static volatile struct __attribute__((packed, aligned(8))) {
		char c;
		void *pointers[3];
	} packed;
	begin(__func__, 0);
	EACH(packed.pointers)
		packed.pointers[i] = get(LEAKED);
	hidden("unaligned");
}

#if UINTPTR_MAX > UINT32_MAX
static void by_high_byte(void)
{
	static volatile uintptr_t tagged[2];
	begin(__func__, 0);
	EACH(tagged)
		tagged[i] = (uintptr_t) get(LEAKED) | (uintptr_t) 0xb4 << 56;
	hidden("mask");
}

static void by_high_16_bits(void)
{
	static volatile uintptr_t tagged[2];
	begin(__func__, 0);
	EACH(tagged)
		tagged[i] = (uintptr_t) get(LEAKED) | (uintptr_t) 0x7ead << 48;
	hidden("mask");
}

/* Offsets from far before the heap, in 8 bytes, as a JVM has them: any small number would be one from nearby. */
static void by_compressed(void)
{
	static volatile uint32_t compressed[5];
	static uintptr_t base;
	begin(__func__, 0);
	EACH(compressed) {
		uintptr_t chunk = (uintptr_t) get(LEAKED);
		base = base ? base : ((chunk & ~(uintptr_t) 0xffff) - 0x234570000) ^ key;
		compressed[i] = (chunk - (base ^ key)) >> 3;
	}
	hidden("compressed");
}
#endif

/* glibc's own: none of these is a leak, though only glibc knows of them. */
static void library_s_own(void)
{
	opened = fopen("/dev/null", "w");
	fopen("/dev/null", "r"); /* which glibc has in its list of files */
	fprintf(opened, "x");
	printf("x");
	setenv("HEAPX_LONG", "a value of the environment that glibc has copied", 1);
	setenv("HEAPX_LONGER", "another value of the environment, which glibc has copied, too", 1);
	setenv("HEAPX_LONG", "a value that replaces the first one, which stays", 1);
}

/* A pointer that only a free chunk still holds, where no link has overwritten it. */
static void by_freed(size_t request, int holders)
{
	void *held[8], **holder[8];
	for (int i = 0; i < holders; i++) {
		holder[i] = malloc(request);
		memset(holder[i], 0, request);
		held[i] = holder[i][7] = get(LEAKED);
	}
	for (int i = 0; i < holders; i++)
		free(holder[i]);
	memset(held, 0, sizeof held);
	memset(holder, 0, sizeof holder);
}

static void by_tcached(void)
{
	begin(__func__, 0);
	by_freed(1000, 3);
}

static void by_binned(void)
{
	begin(__func__, 0);
	by_freed(1500, 4);
}

/* Where the tcache is full, chunks of 112 bytes become fast ones. */
static void by_fast(void)
{
	void *full[16];
	begin(__func__, 0);
	EACH(full)
		full[i] = malloc(104);
	stay(malloc(40));
	EACH(full)
		free(full[i]);
	by_freed(104, 3);
}

/* A dangling pointer: the chunk isn't in use, so it is of no degree. */
static void freed_but_referred_to(void)
{
	EACH(handed) {
		handed[i] = malloc(i ? 1900 : 600);
		stay(malloc(40));
	}
	EACH(handed)
		free(handed[i]);
}

/* A chunk that was in a large bin, and is in use again, with the links that nobody has overwritten. They lead to
   headers, its own and its neighbours', of which the first word is the last one of the chunk before. */
static void by_stale_links(void)
{
	void *again[3];
	begin(__func__, 0);
	for (size_t i = 0; i < 3; i++) {
		get(LEAKED);
		again[i] = malloc(3000 + 100 * i);
	}
	stay(malloc(40));
	EACH(again)
		free(again[i]);
	stay(malloc(5000)); /* larger than these: they are sorted into bins */
	EACH(again)
		stay(malloc(3000 + 100 * i));
}

static void in_list(void)
{
	size_t nodes = (size_t) list;
	list = NULL;
	begin("list", 72);
	for (size_t i = 0; i < nodes; i++) {
		struct node *node = get(REACHABLE);
		node->next = list;
		list = node;
	}
	begin("leaked_list", 88);
	struct node *last = get(LEAKED);
	for (size_t i = 1; i < nodes; i++)
		last = last->next = get(INDIRECT);
	last->next = NULL;
}

static void (*const makers[])(void) = {
	library_s_own, by_global, by_initialised, by_static_local, by_library, by_tls_of_library, by_tls, by_pthread_key,
	by_later_pthread_key, by_chunk, by_last_word_of_chunk, by_mmapped, by_anonymous_mapping, by_shared_mapping,
	by_tree, by_interior_only, by_last_word, below_interior, by_past_end, leaked, leaked_heads, leaked_diamond,
	leaked_tree, leaked_interior, self_cycles, cycles_of_two, ring_with_tails, ring_below_tails, leaked_aligned,
	by_aligned, leaked_mmapped, by_xored, by_misaligned,
#if UINTPTR_MAX > UINT32_MAX
	by_high_byte, by_high_16_bits, by_compressed,
#endif
	by_tcached, by_fast, by_binned, freed_but_referred_to,
};

int main(int argc, char **argv)
{
	static void (*const lists[])(void) = { in_list }, (*const stale[])(void) = { by_stale_links };
	if (argc > 1 && !strcmp(argv[1], "stale"))
		SHOW(stale);
	if (argc > 1 && !strcmp(argv[1], "list")) {
		list = (void *) argument(argc - 1, argv + 1, 1000000);
		SHOW(lists);
	}
	SHOW(makers);
}
