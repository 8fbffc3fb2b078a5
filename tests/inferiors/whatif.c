/* Heaps whose end something holds, which then lets it go: "whatif SCENARIO [THREADS]". Each SIGUSR1 is one more step:
   it frees what was kept last, or ends the thread that caches it; where nothing is left, it calls malloc_trim. Each
   step publishes its number. The scenario runs in main, or in a thread, which has an arena of its own. */
#include "checkpoint.h"
#include <sys/mman.h>

enum { KIB = 1 << 10, MIB = 1 << 20, MOST = 400, SMALL = 40, MEDIUM = 200 };

static void *kept[MOST];
static int number;
static size_t page;

/* Every page of it is resident. */
static void *written(size_t size)
{
	void *block = malloc(size);
	if (!block)
		abort();
	return memset(block, 'w', size);
}

static void *keep(size_t size)
{
	return kept[number++] = written(size);
}

/* What was freed lies below one block that was cached: the tcache must be on. */
static void below_cached(size_t size)
{
	keep(2000);
	void *large = written(300 * KIB), *much = written(60000000), *small = written(size);
	free(small);
	free(much);
	free(large);
	number = 0;
}

static void below_small(void)
{
	below_cached(SMALL);
}

static void below_medium(void)
{
	below_cached(MEDIUM);
}

/* The same with several, between which something is free that malloc_trim can reach. */
static void between_cached(void)
{
	void *cached[5], *large[5];

	keep(2000);
	for (int i = 0; i < 5; i++) {
		large[i] = written(i * 3 * MIB + 2000);
		cached[i] = written(MEDIUM + 100 * i);
	}
	for (int i = 0; i < 5; i++) {
		free(cached[i]);
		free(large[i]);
	}
	number = 0;
}

/* Of these lie free parts of a page between cached blocks: only together do they have a page. */
static void crumbs(void)
{
	void *small[1400], *other[1400];
	for (int i = 0; i < 1400; i++) {
		small[i] = written(2000);
		other[i] = written(700);
		if (i % 7 == 0)
			keep(3000);
	}
	for (int i = 0; i < 1400; i++) {
		free(other[i]);
		free(small[i]);
	}
	number = 0;
}

/* A few blocks stay among many, of any size. */
static void scattered(uint64_t seed, int many, size_t most, int one_in)
{
	void **blocks = mmap(NULL, many * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < many; i++)
		blocks[i] = written(between(&seed, 16, most >> between(&seed, 0, 7)));
	for (int i = 0; i < many; i++)
		if (between(&seed, 1, one_in) > 1)
			free(blocks[i]);
		else
			kept[number++ % MOST] = blocks[i];
}

static void few(void)
{
	scattered(3, 1500, 300 * KIB, 100);
}

/* The same chunk size for all that stay, in runs of up to three. */
static void runs(void)
{
	void *large[40];
	uint64_t seed = 8;
	for (int i = 0; i < 40; i++) {
		large[i] = written(between(&seed, 100, 900) * KIB);
		for (size_t n = between(&seed, 1, 3); n > 0; n--)
			keep(100);
	}
	for (int i = 0; i < 40; i++)
		free(large[i]);
}

/* A thread's heaps, each with one block that stays, at its end or in it. */
static void heaps(void)
{
	enum { LARGE = 4 * MIB };
	void *large[60];

	for (int i = 0; i < 60; i++) {
		large[i] = written(LARGE - 100);
		if (i % 12 == 7)
			keep(100 * KIB);
	}
	for (int i = 0; i < 60; i++)
		free(large[i]);
}

static void locked(void)
{
	few();
	if (mlockall(MCL_CURRENT))
		perror("mlockall"), exit(2);
}

static const struct scenario {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{ "below_small", below_small }, { "below_medium", below_medium }, { "between_cached", between_cached },
	{ "crumbs", crumbs }, { "few", few }, { "runs", runs }, { "heaps", heaps }, { "locked", locked },
};
static const struct scenario *scenario;
static pthread_barrier_t barrier;
static pthread_t thread;
static int in_thread;

static void go(void)
{
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_MXFAST, 0);
	free(written(600 * KIB)); /* now it has trimmed once */
	malloc_trim(0);
	scenario->run();
}

static void *run(void *ignored)
{
	sigset_t set;
	int sig;
	(void) ignored;
	go();
	pthread_barrier_wait(&barrier);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigwait(&set, &sig);
	return NULL;
}

/* Returns whether there was still something to let go. */
static void step(int ends)
{
	if (ends && thread) {
		pthread_kill(thread, SIGUSR2);
		pthread_join(thread, NULL);
		thread = 0;
	} else if (number > 0)
		free(kept[--number]);
	else
		malloc_trim(0);
}

int main(int argc, char **argv)
{
	sigset_t set;
	int sig;

	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		if (argc > 1 && !strcmp(argv[1], scenarios[i].name))
			scenario = &scenarios[i];
	if (!scenario) {
		fprintf(stderr, "usage: whatif SCENARIO [thread [ends]]\n");
		return 2;
	}
	page = sysconf(_SC_PAGESIZE);
	in_thread = argc > 2;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (in_thread) {
		pthread_barrier_init(&barrier, NULL, 2);
		if (pthread_create(&thread, NULL, run, NULL))
			return 2;
		pthread_barrier_wait(&barrier);
	} else
		go();
	no_huge_pages();
	figures();
	announce();
	sigdelset(&set, SIGUSR2);
	for (int n = 1;; n++) {
		sigwait(&set, &sig);
		step(argc > 3);
		publish("step", n);
	}
}
