/* Makes malloc grow and shrink, and what else a process may do meanwhile, whatever a debugger does to it.

   growing asked   once for each SIGUSR1, which it tells in the file "grown"
   growing ever    all the time, in THREADS
   growing busy    besides it has children, threads and signals, and aborts where one goes astray; each round is
                   told in the file "grown"
   growing fork    the same in a child, which it waits for
   growing spin    never: from a SIGUSR1 on it executes one instruction again and again */
#include "checkpoint.h"

#include <errno.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

enum { LARGE = 200000, FEW = 8, THREADS = 3, SIGNALS = 50, EVERY = 5000, TICK = 1000 };

static volatile sig_atomic_t queued, faults, traps, ticks;
static char *page;

static void grow(void)
{
	void *made[FEW];

	for (int i = 0; i < FEW; i++)
		made[i] = malloc(LARGE);
	for (int i = 0; i < FEW; i++)
		free(made[i]);
	malloc_trim(0);
}

static void nap(void)
{
	struct timespec left = { 0, EVERY * 1000L };
	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static void *grow_ever(void *arg)
{
	for (;; nap())
		grow();
	return arg;
}

static void *grow_once(void *arg)
{
	grow();
	return arg;
}

static void count(int number)
{
	if (number == SIGTRAP)
		traps++;
	else if (number == SIGALRM)
		ticks++;
	else
		queued++;
}

static void let_write(int number)
{
	(void) number;
	faults++;
	mprotect(page, 1, PROT_READ | PROT_WRITE);
}

static void expect(int holds)
{
	if (!holds)
		abort();
}

static void join_child(pid_t child)
{
	int how;

	expect(child > 0);
	while (waitpid(child, &how, 0) < 0)
		expect(errno == EINTR);
	expect(WIFEXITED(how) && WEXITSTATUS(how) == 0);
}

static void grow_in_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		grow();
		_exit(0);
	}
	join_child(child);
}

static void have_children(void)
{
	extern char **environ;
	char *words[] = { "true", NULL };
	pid_t child = vfork();

	if (child == 0) {
		execvp(words[0], words);
		_exit(1);
	}
	join_child(child);
	expect(posix_spawnp(&child, words[0], NULL, NULL, words, environ) == 0);
	join_child(child);
	expect(system("true") == 0);
}

static void have_signals(void)
{
	int before = queued, faulted = faults, trapped = traps;

	for (int i = 0; i < SIGNALS; i++)
		expect(sigqueue(getpid(), SIGRTMIN + 3, (union sigval) { 0 }) == 0);
	expect(queued == before + SIGNALS);
	mprotect(page, 1, PROT_NONE);
	*(volatile char *) page = 1;
	expect(faults == faulted + 1);
	raise(SIGTRAP);
	expect(traps == trapped + 1);
}

static void be_busy(void)
{
	struct itimerval tick = { { 0, TICK }, { 0, TICK } };
	pthread_t thread;

	page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGSEGV, &(struct sigaction) { .sa_handler = let_write }, NULL);
	for (size_t i = 0; i < 3; i++)
		sigaction((int[]) { SIGALRM, SIGTRAP, SIGRTMIN + 3 }[i],
			  &(struct sigaction) { .sa_handler = count, .sa_flags = SA_RESTART }, NULL);
	announce();
	setitimer(ITIMER_REAL, &tick, NULL);
	for (long round = 1;; round++) {
		int before = ticks;
		grow();
		grow_in_child();
		have_children();
		have_signals();
		expect(pthread_create(&thread, NULL, grow_once, NULL) == 0 && pthread_join(thread, NULL) == 0);
		nap();
		expect(ticks > before);
		publish("grown", round);
	}
}

static void spin(void)
{
	for (;;)
		__asm__ volatile("");
}

static void answer(void (*act)(void))
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	announce();
	for (long times = 1; sigwait(&set, &number) == 0; times++) {
		act();
		publish("grown", times);
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "ever";

	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 128 << 10);
	grow();
	if (!strcmp(what, "asked"))
		answer(grow);
	if (!strcmp(what, "fork"))
		answer(grow_in_child);
	if (!strcmp(what, "spin"))
		answer(spin);
	if (!strcmp(what, "busy"))
		be_busy();
	for (int i = 1; i < THREADS; i++)
		pthread_create(&(pthread_t) { 0 }, NULL, grow_ever, NULL);
	announce();
	grow_ever(NULL);
}
