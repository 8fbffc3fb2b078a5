/* Heaps of which malloc_trim gives back more or less, each for a reason of its own: "trim SCENARIO [THREADS]". The
   scenario runs in that many threads, which have arenas of their own, or else in main. */
#include "checkpoint.h"
#include <sys/mman.h>

enum { KIB = 1 << 10, MIB = 1 << 20, A_FAST_SIZE = 40, MANY = 1500 };

static size_t page;

/* Every page of it is resident. */
static void *written(size_t size)
{
	void *block = malloc(size);
	if (!block)
		abort();
	return memset(block, 'w', size);
}

/* Stays in use, so that what is free on its two sides can't become one. */
static void wall(void)
{
	written(200);
}

/* Neither mmap nor free's own trimming takes a block out of the heap. */
static void keep_all_in_the_heap(void)
{
	mallopt(M_MMAP_THRESHOLD, 32 * MIB);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

static void sprinkled(uint64_t seed)
{
	void *blocks[MANY];

	for (int i = 0; i < MANY; i++)
		blocks[i] = written(between(&seed, 16, 200000 >> between(&seed, 0, 13)));
	for (int i = 0; i < MANY; i++)
		if (between(&seed, 0, 2))
			free(blocks[i]);
}

/* In a thread it takes several heaps. Three quarters of the pages are never touched. */
static void patchwork(uint64_t seed)
{
	void *blocks[MANY];

	for (int i = 0; i < MANY; i++) {
		size_t size = between(&seed, 60000, 120000);
		char *block = blocks[i] = malloc(size);
		for (size_t at = 0; at < size; at += page)
			if (!between(&seed, 0, 3))
				block[at] = 'w';
	}
	for (int i = 0; i < MANY; i++)
		if (between(&seed, 0, 1))
			free(blocks[i]);
}

/* Free chunks of every size around one and two pages, at ever other distances from a page's start. */
static void page_sized(uint64_t seed)
{
	void *blocks[1000];
	int n = 0;

	(void) seed;
	for (size_t size = page; size < 3 * page; size += 16) {
		blocks[n++] = written(size);
		wall();
	}
	while (n)
		free(blocks[--n]);
}

/* No free chunk is as large as a page, top neither. */
static void crumbs(uint64_t seed)
{
	void *blocks[MANY];

	mallopt(M_TOP_PAD, 0);
	for (int i = 0; i < MANY; i++) {
		blocks[i] = written(between(&seed, 16, 4000));
		wall();
	}
	for (int i = 0; i < MANY; i++)
		free(blocks[i]);
}

static void aligned(uint64_t seed)
{
	void *blocks[400];

	keep_all_in_the_heap();
	for (int i = 0; i < 400; i++) {
		size_t size = between(&seed, 16, 60000);
		blocks[i] = memset(memalign(64 << between(&seed, 0, 14), size), 'w', size);
	}
	for (int i = 0; i < 400; i++)
		if (between(&seed, 0, 1))
			free(blocks[i]);
}

/* malloc_trim first makes one of the large free chunk, the fast one and top; a thread's top it leaves alone. */
static void fast_beside_top(uint64_t seed)
{
	(void) seed;
	keep_all_in_the_heap();
	wall();
	void *large = written(4 * MIB), *fast = malloc(A_FAST_SIZE);
	free(large);
	free(fast);
}

/* Two free chunks without a whole page, and the fast chunk between them, become one that has a page. */
static void fast_between_free(uint64_t seed)
{
	enum { PLACES = 1000 };
	void *before[PLACES], *fast[PLACES], *behind[PLACES];

	(void) seed;
	for (int i = 0; i < PLACES; i++) {
		before[i] = written(3000);
		fast[i] = malloc(A_FAST_SIZE);
		behind[i] = written(3000);
		wall();
	}
	for (int i = 0; i < PLACES; i++) {
		free(before[i]);
		free(behind[i]);
	}
	for (int i = 0; i < PLACES; i++)
		free(fast[i]);
}

/* The kernel maps the zero page, or the huge one, where a page is only read; that takes no memory. */
static void only_read(char *block, size_t size)
{
	for (size_t at = 0; at < size; at += page)
		(void) *(volatile char *) (block + at);
}

enum { BLOCKS = 8, BLOCK_SIZE = 5 * MIB };

static void large_top(uint64_t seed)
{
	void *blocks[BLOCKS];

	(void) seed;
	keep_all_in_the_heap();
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = written(BLOCK_SIZE);
	for (int i = BLOCKS; i--;)
		free(blocks[i]);
}

/* Of four blocks one is written and one only read. */
static void untouched_top(uint64_t seed)
{
	void *blocks[BLOCKS];

	(void) seed;
	keep_all_in_the_heap();
	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = i % 4 ? malloc(BLOCK_SIZE) : written(BLOCK_SIZE);
		if (i % 4 == 2)
			only_read(blocks[i], BLOCK_SIZE);
	}
	for (int i = BLOCKS; i--;)
		free(blocks[i]);
}

/* free trims down to the pad, of which the lower part was written. */
static void padded_top(uint64_t seed)
{
	void *blocks[60];

	(void) seed;
	mallopt(M_TOP_PAD, 16 * MIB);
	for (int i = 0; i < 60; i++)
		blocks[i] = written(100000);
	for (int i = 60; i--;)
		free(blocks[i]);
}

/* The break has moved on from the end of a large top. */
static void foreign_break(uint64_t seed)
{
	sprinkled(seed);
	large_top(seed);
	memset(sbrk(page + 123), 'f', page + 123);
}

/* The main arena is in two pieces. */
static void break_between(uint64_t seed)
{
	sprinkled(seed);
	memset(sbrk(page + 123), 'f', page + 123);
	large_top(seed);
}

/* The break can't move, so the main arena goes on in mmaps. */
static void *block_the_break(void)
{
	uintptr_t end = ((uintptr_t) sbrk(0) + page - 1) & -page;
	void *obstacle = mmap((void *) end, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (obstacle != (void *) end)
		perror("mmap"), abort();
	return obstacle;
}

static void break_blocked(uint64_t seed)
{
	block_the_break();
	sprinkled(seed);
	large_top(seed);
}

/* The arena is non-contiguous for good, but top is at the break again, and goes. */
static void break_unblocked(uint64_t seed)
{
	void *obstacle = block_the_break();
	sprinkled(seed);
	munmap(obstacle, page);
	large_top(seed);
}

/* madvise fails in locked memory. It is little, for RLIMIT_MEMLOCK. */
static void locked(uint64_t seed)
{
	void *blocks[150];

	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		perror("mlockall"), abort();
	keep_all_in_the_heap();
	for (int i = 0; i < 150; i++)
		blocks[i] = written(between(&seed, 16, 20000));
	for (int i = 0; i < 150; i++)
		if (i >= 120 || between(&seed, 0, 2))
			free(blocks[i]);
}

/* madvise gives back what lies before the first locked page of a chunk, and nothing behind it. */
static void locked_in_part(uint64_t seed)
{
	enum { PLACES = 4, SIZE = 4 * MIB };
	char *blocks[PLACES];

	(void) seed;
	keep_all_in_the_heap();
	for (int i = 0; i < PLACES; i++) {
		blocks[i] = written(SIZE);
		wall();
	}
	if (mlock(blocks[0] + SIZE / 4, SIZE / 8) /* in the middle */
	    || mlock(blocks[1], 1) /* the first page, which is kept anyway */
	    || mlock(blocks[2] + SIZE / 2, 1) || mlock(blocks[2] + SIZE - 2 * page, 1)) /* twice */
		perror("mlock"), abort();
	for (int i = 0; i < PLACES; i++)
		free(blocks[i]);
}

enum { RETURNED = 4, RETURNED_SIZE = 6 * MIB };

/* Walls keep the break where it is, so the blocks remain mapped. */
static void return_blocks(char *blocks[RETURNED])
{
	keep_all_in_the_heap();
	for (int i = 0; i < RETURNED; i++) {
		blocks[i] = written(RETURNED_SIZE);
		wall();
	}
	for (int i = 0; i < RETURNED; i++)
		free(blocks[i]);
	malloc_trim(0);
}

static void given_back(uint64_t seed)
{
	enum { AGAIN = 200 };
	char *returned[RETURNED];
	void *blocks[AGAIN];

	return_blocks(returned);
	for (int i = 0; i < AGAIN; i++)
		blocks[i] = written(between(&seed, 16, 100000));
	for (int i = 0; i < AGAIN; i++)
		if (between(&seed, 0, 1))
			free(blocks[i]);
}

static void read_since(uint64_t seed)
{
	char *blocks[RETURNED];

	return_blocks(blocks);
	for (int i = 0; i < RETURNED; i++)
		only_read(blocks[i], i % 2 ? RETURNED_SIZE : between(&seed, 1, RETURNED_SIZE));
	for (int i = 0; i < RETURNED; i++) /* some is written again */
		free(written(between(&seed, 100, 500) * KIB));
}

/* free has shrunk the heap. */
static void shrunk(uint64_t seed)
{
	void *blocks[200];

	(void) seed;
	for (int i = 0; i < 200; i++)
		blocks[i] = written(100000);
	for (int i = 200; i-- > 50;)
		free(blocks[i]);
	for (int i = 0; i < 50; i += 2)
		free(blocks[i]);
}

/* Of each size a tcache takes some, the rest is free. */
static void cached(uint64_t seed)
{
	enum { SIZES = 5, EACH = 500 };
	void *blocks[SIZES][EACH];

	(void) seed;
	for (int s = 0; s < SIZES; s++)
		for (int i = 0; i < EACH; i++)
			blocks[s][i] = written(200 * (s + 1));
	wall();
	for (int s = 0; s < SIZES; s++)
		for (int i = 0; i < EACH; i++)
			free(blocks[s][i]);
}

/* A child has the same pages, which are none the less in Rss. */
static void forked(uint64_t seed)
{
	sprinkled(seed);
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

static pthread_barrier_t done;

static void *short_lived(void *arg)
{
	sprinkled((uintptr_t) arg);
	pthread_barrier_wait(&done); /* one that ended would leave its arena to the next */
	return NULL;
}

/* Arenas that have no thread left. */
static void ended(uint64_t seed)
{
	enum { ENDED = 3 };
	pthread_t threads[ENDED];

	pthread_barrier_init(&done, NULL, ENDED);
	for (int i = 0; i < ENDED; i++)
		pthread_create(&threads[i], NULL, short_lived, (void *) (uintptr_t) (seed + i));
	for (int i = 0; i < ENDED; i++)
		pthread_join(threads[i], NULL);
}

static const struct {
	const char *name;
	void (*run)(uint64_t seed);
} scenarios[] = {
#define SCENARIO(name) { #name, name }
	SCENARIO(sprinkled), SCENARIO(patchwork), SCENARIO(page_sized), SCENARIO(crumbs), SCENARIO(aligned),
	SCENARIO(fast_beside_top), SCENARIO(fast_between_free), SCENARIO(untouched_top),
	SCENARIO(large_top), SCENARIO(padded_top), SCENARIO(foreign_break), SCENARIO(break_between),
	SCENARIO(break_blocked), SCENARIO(break_unblocked), SCENARIO(locked), SCENARIO(locked_in_part),
	SCENARIO(given_back), SCENARIO(read_since), SCENARIO(shrunk), SCENARIO(cached), SCENARIO(forked),
	SCENARIO(ended),
#undef SCENARIO
};

static void (*scenario)(uint64_t seed);

static void *thread(void *arg)
{
	scenario((uintptr_t) arg);
	park(&done);
}

int main(int argc, char **argv)
{
	size_t threads = argc > 1 ? argument(argc - 1, argv + 1, 0) : 0;

	page = sysconf(_SC_PAGESIZE);
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		if (argc > 1 && !strcmp(argv[1], scenarios[i].name))
			scenario = scenarios[i].run;
	if (!scenario)
		return 2;
	if (threads) {
		pthread_barrier_init(&done, NULL, threads + 1);
		for (size_t i = 1; i <= threads; i++)
			pthread_create(&(pthread_t) { 0 }, NULL, thread, (void *) i);
		pthread_barrier_wait(&done);
	} else
		scenario(1);
	checkpoint();
}
