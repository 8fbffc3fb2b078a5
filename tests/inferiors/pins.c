/* Blocks that stay among many that were freed: "pins SCENARIO [thread]". The file "kept" has their addresses. On each
   SIGUSR1 it frees those that the file "free" names, calls malloc_trim if that begins with a t, and publishes the
   number of the step. The scenario runs in main, or in a thread, which has an arena of its own. */
#include "checkpoint.h"
#include <fcntl.h>
#include <sys/mman.h>

enum { KIB = 1 << 10, MIB = 1 << 20, MOST = 1 << 16, TEXT = 1 << 20 };

static void *kept[MOST];
static int number;
static char text[TEXT];

static void *written(size_t size)
{
	void *block = malloc(size);
	if (!block)
		abort();
	return memset(block, 'w', size);
}

/* One in `one_in` stays, of a few sizes; the others have up to `most` bytes. */
static void scattered(int many, size_t most, int one_in)
{
	static const size_t sizes[] = { 40, 40, 100, 200, 1000, 3000 };
	void **blocks = mmap(NULL, many * sizeof *blocks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t seed = 5;

	for (int i = 0; i < many; i++)
		if (between(&seed, 1, one_in) == 1)
			kept[number++] = written(sizes[between(&seed, 0, 5)]);
		else
			blocks[i] = written(between(&seed, 24, most));
	for (int i = 0; i < many; i++)
		if (blocks[i])
			free(blocks[i]);
}

static void sessions(void)
{
	scattered(8000, 2000, 8);
}

static void sparse(void)
{
	scattered(3000, 60 * KIB, 30);
}

/* Heaps of 64 MiB with one block each, in a thread's arena. */
static void heaps(void)
{
	static void *large[80];
	for (int i = 0; i < 80; i++) {
		large[i] = written(3 * MIB);
		if (i % 20 == 9)
			kept[number++] = written(100 * KIB);
	}
	for (int i = 0; i < 80; i++)
		free(large[i]);
}

static const struct scenario {
	const char *name;
	void (*run)(void);
} scenarios[] = { { "sessions", sessions }, { "sparse", sparse }, { "heaps", heaps } };
static const struct scenario *scenario;
static pthread_barrier_t barrier;

static void go(void)
{
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_MXFAST, 0);
	scenario->run();
}

static void *run(void *ignored)
{
	(void) ignored;
	go();
	park(&barrier);
}

/* Without a FILE, which would call malloc. */
static size_t ask(void)
{
	const char *directory = getenv("HEAPX_ORACLE");
	char name[4096];
	snprintf(name, sizeof name, "%s/free", directory);
	int fd = open(name, O_RDONLY);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (size < 0)
		perror(name), exit(2);
	close(fd);
	text[size] = 0;
	return size;
}

static void step(void)
{
	ask();
	for (char *at = text + 1; *at;) {
		char *end;
		void *block = (void *) strtoul(at, &end, 16);
		if (end == at)
			break;
		free(block);
		at = end;
	}
	if (text[0] == 't')
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
		fprintf(stderr, "usage: pins SCENARIO [thread]\n");
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (argc > 2) {
		pthread_t thread;
		pthread_barrier_init(&barrier, NULL, 2);
		pthread_create(&thread, NULL, run, NULL);
		pthread_barrier_wait(&barrier);
	} else
		go();
	size_t length = 0;
	for (int i = 0; i < number; i++)
		length += snprintf(text + length, sizeof text - length, "%lx ", (unsigned long) kept[i]);
	char name[4096];
	snprintf(name, sizeof name, "%s/kept", getenv("HEAPX_ORACLE"));
	int fd = open(name, O_CREAT | O_WRONLY, 0600);
	if (fd < 0 || write(fd, text, length) != (ssize_t) length)
		perror(name), exit(2);
	close(fd);
	no_huge_pages();
	figures();
	announce();
	for (long steps = 1;; steps++) {
		sigwait(&set, &sig);
		step();
		publish("step", steps);
	}
}
