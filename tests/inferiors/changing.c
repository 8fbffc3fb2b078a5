/* Grows and shrinks by known amounts: each argument is a step, done at a SIGUSR1.

   grow,THREAD,CHUNKS,SIZE   a thread (0 is the main one) allocates chunks of this size, header and all, and writes to them;
                             behind them it leaves a small one, so that free() can't trim what they leave
   free,THREAD               it frees all but those small ones
   map,BYTES                 maps memory that isn't malloc's, and writes to it
   unmap                     gives that back
   exec                      starts the program again, without steps

   After each step the files tell what it has by now: "held" the bytes of all chunks, "chunks" their number, "mapped" the
   bytes of other memory; then "done", which step that was. */
#include "checkpoint.h"

#include <semaphore.h>
#include <sys/mman.h>

enum { THREADS = 3, HEADER = sizeof(size_t), SMALL = 32, IS_MMAPPED = 2 };

static struct worker {
	sem_t begin, end;
	const char *step;
	void *chunks; /* each leads to the next */
	long number, bytes;
} workers[THREADS];

static char *mapped;
static size_t mapped_bytes;

static void *take(struct worker *me, size_t size)
{
	size_t *memory = malloc(size - HEADER);

	memset(memory, 'c', size - HEADER);
	me->number++;
	me->bytes += malloc_usable_size(memory) + (memory[-1] & IS_MMAPPED ? 2 : 1) * HEADER;
	return memory;
}

static void give_back(struct worker *me)
{
	while (me->chunks) {
		size_t *memory = me->chunks;
		me->number--;
		me->bytes -= malloc_usable_size(memory) + (memory[-1] & IS_MMAPPED ? 2 : 1) * HEADER;
		me->chunks = *(void **) memory;
		free(memory);
	}
}

static void work(struct worker *me)
{
	long chunks, size;

	if (sscanf(me->step, "grow,%*d,%ld,%ld", &chunks, &size) != 2) {
		give_back(me);
		return;
	}
	for (long i = 0; i < chunks; i++) {
		void **memory = take(me, size);
		*memory = me->chunks;
		me->chunks = memory;
	}
	take(me, SMALL);
}

static void *serve(void *arg)
{
	struct worker *me = arg;

	for (;;) {
		sem_wait(&me->begin);
		work(me);
		sem_post(&me->end);
	}
	return arg;
}

static void map(size_t bytes)
{
	mapped_bytes = bytes;
	mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(mapped, 'm', bytes);
}

static void do_step(char **argv, const char *step)
{
	int thread;

	if (!strcmp(step, "exec"))
		execv("/proc/self/exe", (char *[]) { argv[0], NULL });
	if (!strncmp(step, "map,", 4)) {
		map(strtoul(step + 4, NULL, 0));
	} else if (!strcmp(step, "unmap")) {
		munmap(mapped, mapped_bytes);
		mapped_bytes = 0;
	} else if (sscanf(step, "%*[a-z],%d", &thread) == 1 && thread == 0) {
		workers[0].step = step;
		work(&workers[0]);
	} else {
		workers[thread].step = step;
		sem_post(&workers[thread].begin);
		sem_wait(&workers[thread].end);
	}
}

static void tell(long step)
{
	long bytes = 0, number = 0;

	for (int i = 0; i < THREADS; i++) {
		bytes += workers[i].bytes;
		number += workers[i].number;
	}
	publish("held", bytes);
	publish("chunks", number);
	publish("mapped", mapped_bytes);
	publish("done", step);
}

int main(int argc, char **argv)
{
	sigset_t set;
	int number;

	mallopt(M_TRIM_THRESHOLD, 128 << 10); /* stays so; and so does the one for mmap */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 1; i < THREADS; i++) {
		sem_init(&workers[i].begin, 0, 0);
		sem_init(&workers[i].end, 0, 0);
		pthread_create(&(pthread_t) { 0 }, NULL, serve, &workers[i]);
	}
	no_huge_pages();
	announce();
	for (int i = 1; i < argc; i++) {
		sigwait(&set, &number);
		do_step(argv, argv[i]);
		tell(i);
	}
	for (;;)
		pause();
}
