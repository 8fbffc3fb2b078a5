/* A family: threads of the parent leave free memory in arenas of their own, then it forks workers, which have
   written to some of it since. forked WORKERS THREADS MIB [later|before]: with "later" a worker has had threads of
   its own, with "before" those of the parent have ended before it forks.

   With $HEAPX_THEN each trims when it gets SIGUSR1: the parent says so in "trimmed", worker n in "trimmed-n". */
#include "checkpoint.h"

#define MIB (1 << 20)

enum { KEPT = 50, MOST = 3000, LEAST = 200 };

static pthread_barrier_t reached, later;
static size_t mib;
static int before;

/* Free memory with a block in use here and there; the blocks are linked. */
static void **sprinkled(uint64_t seed)
{
	void **blocks = NULL, **kept = NULL;
	size_t number = 0;

	for (size_t sum = 0; sum < mib * MIB; number++) {
		size_t size = between(&seed, LEAST, MOST);
		void **block = malloc(size);
		memset(block, 1, size);
		*block = blocks;
		blocks = block;
		sum += size;
	}
	for (size_t i = 0; blocks; i++) {
		void **next = *blocks;
		if (i % KEPT) {
			free(blocks);
		} else {
			*blocks = kept;
			kept = blocks;
		}
		blocks = next;
	}
	return kept;
}

static void *thread(void *arg)
{
	char deep[1 << 16];

	memset(deep, 1, sizeof deep); /* of its stack more is in memory than the page that a fork writes to */
	__asm__ volatile("" : : "r"(deep) : "memory");
	sprinkled((uintptr_t) arg);
	if (!before)
		park(&reached);
	pthread_barrier_wait(&reached);
	return NULL;
}

static void *short_lived(void *arg)
{
	free(malloc(LEAST));
	pthread_barrier_wait(&later); /* all of them at once, so that each has an arena */
	return arg;
}

static void run_threads(size_t threads)
{
	pthread_t ids[threads];

	pthread_barrier_init(&later, NULL, threads);
	for (size_t i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, short_lived, NULL);
	for (size_t i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
}

/* Writes to the first blocks that are kept, and to the header of top. */
static void write_some(void **kept, size_t number)
{
	for (; kept && number--; kept = *kept)
		kept[1] = kept;
	free(malloc(100000));
}

_Noreturn static void work(int number, void **kept, size_t threads, int done)
{
	char name[32], byte = 0;
	sigset_t set;
	int sig;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	write_some(kept, 40 * (number + 1));
	if (threads)
		run_threads(threads);
	snprintf(name, sizeof name, "trimmed-%d", number);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (write(done, &byte, 1) != 1)
		abort();
	sigwait(&set, &sig);
	publish(name, malloc_trim(0));
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	size_t workers = argument(argc, argv, 0), threads = argument(argc, argv + 1, 0);
	int done[2];
	char byte;

	mib = argument(argc, argv + 2, 0);
	before = argc > 4 && !strcmp(argv[4], "before");
	pthread_barrier_init(&reached, NULL, threads + 1);
	pthread_t ids[threads + 1];
	for (size_t i = 1; i <= threads; i++)
		pthread_create(&ids[i], NULL, thread, (void *) i);
	void **kept = sprinkled(threads + 1);
	memset(malloc(4 * MIB), 1, 4 * MIB); /* with a mapping of its own */
	pthread_barrier_wait(&reached);
	for (size_t i = 1; before && i <= threads; i++)
		pthread_join(ids[i], NULL);
	if (pipe(done))
		abort();
	for (size_t i = 0; i < workers; i++) {
		pid_t pid = fork();
		if (!pid)
			work(i, kept, argc > 4 && !before ? threads + 2 : 0, done[1]);
		if (pid < 0 || read(done[0], &byte, 1) != 1)
			abort();
		known("worker %d\n", pid);
	}
	write_some(kept, 20);
	checkpoint();
}
