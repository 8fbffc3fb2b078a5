/* Memory that a setting keeps, which the argument names: with the setting and without, to compare. */
#include "checkpoint.h"
#include <sys/mman.h>

enum { KIB = 1 << 10, MIB = 1 << 20, GROUPS = 32 };

static uint64_t seed = 1;
static void *blocks[80000];
static size_t count;

static void *written(size_t size)
{
	void *block = malloc(size);
	if (!block)
		abort();
	return memset(block, 'w', size);
}

/* A block stays above those that came before. */
static void pin(void)
{
	written(5000);
}

static void take_large(size_t bytes)
{
	for (size_t taken = 0, size; taken < bytes; taken += size) {
		size = between(&seed, 200 * KIB, 1200 * KIB);
		blocks[count++] = written(size);
		pin();
	}
}

static void take_small(size_t bytes)
{
	for (size_t taken = 0, size, since = 0; taken < bytes; taken += size) {
		size = between(&seed, 1100, 6000);
		blocks[count++] = written(size);
		if ((since += size) > bytes / GROUPS) {
			pin();
			since = 0;
		}
	}
}

static void free_upwards(void)
{
	for (size_t i = 0; i < count; i++)
		free(blocks[i]);
	count = 0;
}

static void free_downwards(void)
{
	while (count)
		free(blocks[--count]);
}

static void free_at_random(void)
{
	while (count) {
		size_t i = between(&seed, 0, count - 1);
		free(blocks[i]);
		blocks[i] = blocks[--count];
	}
}

/* From here on blocks of up to 20 MiB come from an arena. */
static void raise_threshold(void)
{
	free(written(20 * MIB));
}

static void large(void)
{
	raise_threshold();
	take_large(64 * MIB);
	free_upwards();
}

static void upwards(void)
{
	raise_threshold();
	take_small(64 * MIB);
	free_upwards();
}

static void downwards(void)
{
	raise_threshold();
	take_small(64 * MIB);
	free_downwards();
}

static void at_random(void)
{
	raise_threshold();
	take_small(64 * MIB);
	free_at_random();
}

static void mixed(void)
{
	raise_threshold();
	for (int i = 0; i < 8; i++) {
		take_large(4 * MIB);
		take_small(4 * MIB);
	}
	free_at_random();
}

/* Large blocks lie where small ones were: what those left of themselves is written over. */
static void large_over_small(void)
{
	raise_threshold();
	take_small(64 * MIB);
	free_upwards();
	take_large(48 * MIB);
	free_upwards();
}

/* Small blocks are cut from where large ones were. */
static void small_over_large(void)
{
	raise_threshold();
	take_large(64 * MIB);
	free_upwards();
	take_small(48 * MIB);
	free_at_random();
}

/* As many large blocks as stay, in an arena; beside them as much that was small. */
static void *in_thread(void *barrier)
{
	for (int i = 0; i < 8; i++) {
		take_large(3 * MIB);
		take_small(3 * MIB);
	}
	free_at_random();
	park(barrier);
}

static void thread(void)
{
	static pthread_barrier_t barrier;
	pthread_t other;

	raise_threshold();
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&other, NULL, in_thread, &barrier);
	pthread_barrier_wait(&barrier);
}

/* Each has more than 2 KiB, and less than a page. */
static void many(void)
{
	for (int i = 0; i < 60000; i++)
		written(2100);
}

/* Blocks that are hardly touched, between such that are. */
static void untouched(void)
{
	for (int i = 0; i < 64 * MIB / (100 * KIB); i++) {
		if (!malloc(100 * KIB))
			abort();
		pin();
	}
}

/* All of it is freed, and goes through the tcache. */
static void cached(void)
{
	while (count < 20000)
		blocks[count++] = written(1000);
	free_upwards();
}

/* Many threads, each with an arena if it can have one, and free memory in it. */
static void *worker(void *barrier)
{
	void *mine[2000];

	for (int i = 0; i < 2000; i++)
		mine[i] = written(2000);
	written(5000);
	for (int i = 0; i < 2000; i++)
		free(mine[i]);
	park(barrier);
}

/* A block pins much; behind it lies little, freed downwards: less than free() trims by default. */
static void *with_top(void *barrier)
{
	enum { BELOW = 8000, BEHIND = 55, SIZE = 2000 };
	void *mine[BELOW + BEHIND];

	for (int i = 0; i < BELOW + BEHIND; i++) {
		if (i == BELOW)
			pin();
		mine[i] = written(SIZE);
	}
	for (int i = BELOW + BEHIND; i--;)
		free(mine[i]);
	park(barrier);
}

static void start_threads(int number, void *(*run)(void *))
{
	static pthread_barrier_t barrier;
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, number + 1);
	for (int i = 0; i < number; i++)
		if (pthread_create(&thread, NULL, run, &barrier))
			abort();
	pthread_barrier_wait(&barrier);
}

static void threads(void)
{
	start_threads(24, worker);
}

static void tops_of_threads(void)
{
	start_threads(16, with_top);
}

/* $REMEDIES_LOCK says whether memory is locked before it is mapped, and how. */
static void locked(void)
{
	const char *how = getenv("REMEDIES_LOCK");

	if (how && mlockall(MCL_CURRENT | MCL_FUTURE | (!strcmp(how, "on fault") ? MCL_ONFAULT : 0)))
		abort();
	start_threads(4, worker);
}

/* All of it is freed, and merges into top. */
static void tops(void)
{
	while (count < 16000)
		blocks[count++] = written(2000);
	free_upwards();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
		{ "large", large }, { "upwards", upwards }, { "downwards", downwards }, { "at_random", at_random },
		{ "mixed", mixed }, { "large_over_small", large_over_small },
		{ "small_over_large", small_over_large }, { "thread", thread }, { "many", many },
		{ "untouched", untouched }, { "cached", cached }, { "threads", threads }, { "locked", locked },
		{ "tops", tops }, { "tops_of_threads", tops_of_threads },
	};

	for (size_t i = 0; argc > 1 && i < sizeof scenarios / sizeof *scenarios; i++)
		if (!strcmp(argv[1], scenarios[i].name)) {
			scenarios[i].run();
			checkpoint();
		}
	return 2;
}
