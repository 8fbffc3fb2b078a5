/* Functions that make malloc grow, and one that doesn't: a SIGUSR1 begins it. What grew, by malloc's own figures
   before and after each call, is written to the file "truth": the function, how often, and by how many bytes.

   growth sites           one thread after the other
   growth race [THREADS]  all at once: only the sum is known
   growth vfork           with children that grow in the same memory, before they end or call exec
   growth filtered        where ptrace and exec end the process (seccomp)
   growth exec            then it is another program
   growth rest            nothing happens then */
#include "checkpoint.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define UNUSED __attribute__((unused))
#define NOINLINE __attribute__((noinline, noclone))
enum { SMALL = 60000, LARGE = 4 << 20, HUGE = 16 << 20 };
enum { FEW = 60, FILL = 20 }; /* FILL of LARGE are more than a heap has */

static size_t grown(void)
{
	__typeof__(mallinfo2()) m = mallinfo2();
	return (size_t) m.arena + (size_t) m.hblkhd;
}

NOINLINE void *grow_by_chunks(UNUSED void *unused, size_t size)
{
	char *made = malloc(size);
	made[0] = 1;
	return made;
}

NOINLINE void *grow_by_mappings(UNUSED void *unused, size_t size)
{
	char *made = malloc(size);
	made[0] = 1;
	return made;
}

NOINLINE void *grow_by_realloc(void *old, size_t size)
{
	char *made = realloc(old, size);
	made[0] = 1;
	return made;
}

/* What was freed right before. */
NOINLINE void *use_again(UNUSED void *unused, size_t size)
{
	char *made = malloc(size);
	made[0] = 1;
	return made;
}

static struct site {
	const char *name;
	void *(*call)(void *old, size_t size);
	size_t requests, bytes;
} sites[] = {
	{ "grow_by_chunks", grow_by_chunks, 0, 0 },
	{ "grow_by_mappings", grow_by_mappings, 0, 0 },
	{ "grow_by_realloc", grow_by_realloc, 0, 0 },
	{ "use_again", use_again, 0, 0 },
};
enum { CHUNKS, MAPPINGS, REALLOC, AGAIN, SITES };

static void *called(int site, void *old, size_t size)
{
	if (site == AGAIN)
		free(old);
	size_t before = grown();
	void *made = sites[site].call(old, size);
	size_t after = grown();
	if (after > before) {
		sites[site].requests++;
		sites[site].bytes += (after - before) & -4096UL; /* 2.43 counts a header for each mremap */
	}
	return made;
}

/* Then all of it is freed, and asked for again: a heap grows into what it had given back. */
static void *in_an_arena(UNUSED void *unused)
{
	void *made[FILL];
	free(called(CHUNKS, NULL, 1)); /* a new arena */
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < FILL; i++)
			made[i] = called(CHUNKS, NULL, LARGE);
		for (int i = 0; i < FILL; i++)
			made[i] = called(AGAIN, made[i], LARGE);
		for (int i = FILL; i-- > 0;)
			free(made[i]);
	}
	return NULL;
}

static void in_turn(void)
{
	void *made[FEW];
	for (int i = 0; i < FEW; i++)
		made[i] = called(CHUNKS, NULL, SMALL);
	for (int i = 0; i < FEW; i++)
		made[i] = called(AGAIN, made[i], SMALL);
	for (int i = 0; i < 5; i++) {
		void *mapped = called(MAPPINGS, NULL, HUGE);
		called(REALLOC, mapped, 2 * HUGE);
	}
	for (int i = 0; i < 2; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, in_an_arena, NULL);
		pthread_join(thread, NULL);
	}
}

static void *at_once(UNUSED void *unused)
{
	for (int i = 0; i < FILL; i++)
		grow_by_chunks(NULL, LARGE / 40);
	return NULL;
}

static void race(size_t threads)
{
	pthread_t all[64];
	size_t before = grown();
	for (size_t i = 0; i < threads; i++)
		pthread_create(&all[i], NULL, at_once, NULL);
	for (size_t i = 0; i < threads; i++)
		pthread_join(all[i], NULL);
	sites[CHUNKS].bytes = grown() - before;
}

/* What these children get stays in their parent's memory; by a site of their own, which nobody sees. */
static void with_vforks(void)
{
	for (int i = 0; i < FILL; i++) {
		pid_t child = vfork();
		if (!child) {
			called(MAPPINGS, NULL, SMALL);
			if (i % 2)
				execl("/bin/true", "true", NULL);
			_exit(0);
		}
		int status = 0;
		waitpid(child, &status, 0);
		if (status)
			_exit(1);
		called(CHUNKS, NULL, SMALL);
	}
}

static void filtered(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(1);
	for (int i = 0; i < FEW; i++)
		called(CHUNKS, NULL, SMALL);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "sites";
	sigset_t set;
	int sig;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	mallopt(M_MMAP_THRESHOLD, 8 << 20);
	free(malloc(1)); /* its tcache and the first heap are no request of a site */
	announce();
	sigwait(&set, &sig);
	if (!strcmp(mode, "sites"))
		in_turn();
	if (!strcmp(mode, "race"))
		race(argc > 2 ? strtoul(argv[2], NULL, 0) : 8);
	if (!strcmp(mode, "vfork"))
		with_vforks();
	if (!strcmp(mode, "filtered"))
		filtered();
	if (!strcmp(mode, "exec")) {
		called(CHUNKS, NULL, LARGE);
		execl("/bin/sleep", "sleep", "60", NULL);
	}
	int truth = oracle_file("truth");
	for (int i = 0; i < SITES; i++)
		put(truth, "%s %zu %zu\n", sites[i].name, sites[i].requests, sites[i].bytes);
	publish("done", 0);
	if (!strcmp(mode, "rest"))
		rest();
	return 7;
}
