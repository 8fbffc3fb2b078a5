/* The protocol between an inferior and its test: the figures that glibc and libcount.so give for the heap,
   written to the directory $HEAPX_ORACLE without touching that heap, then the file "ready". */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#if __GLIBC_PREREQ(2, 33)
typedef size_t figure;
#else
#define mallinfo2 mallinfo
typedef unsigned figure;
#endif

static struct {
	int dir, mallinfo, counts, known;
	FILE *malloc_info;
	void (*count_report)(int fd);
	char buffer[1 << 16], lines[1 << 16];
	size_t length;
} oracle = { .dir = -1 };

static inline int oracle_file(const char *name)
{
	int fd = openat(oracle.dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		perror(name);
		_exit(2);
	}
	return fd;
}

/* Like dprintf, which allocates a buffer up to glibc 2.36. */
__attribute__((format(printf, 2, 3))) static inline void put(int fd, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (n < 0 || (size_t) n >= sizeof text || write(fd, text, n) != n)
		abort();
}

/* khugepaged would make pages resident at a time of its own, and the kernel where the machine's settings say so. */
static inline void no_huge_pages(void)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/* Everything that allocates is done before main. */
__attribute__((constructor)) static void oracle_open(void)
{
	const char *tunables = getenv("GLIBC_TUNABLES");
	if (!tunables || !strstr(tunables, "hugetlb=1")) /* else glibc asks for them */
		no_huge_pages();
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	if (getenv("HEAPX_THEN")) {
		sigset_t set;
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		sigprocmask(SIG_BLOCK, &set, NULL);
	}
	const char *dir = getenv("HEAPX_ORACLE");
	if (!dir)
		return;
	oracle.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (oracle.dir < 0) {
		perror(dir);
		_exit(2);
	}
	oracle.malloc_info = fdopen(oracle_file("malloc_info.xml"), "w");
	setvbuf(oracle.malloc_info, oracle.buffer, _IOFBF, sizeof oracle.buffer);
	oracle.mallinfo = oracle_file("mallinfo");
	oracle.known = oracle_file("known");
	*(void **) &oracle.count_report = dlsym(RTLD_DEFAULT, "count_report");
	if (oracle.count_report)
		oracle.counts = oracle_file("counts");
}

/* Appends to the file "known". */
__attribute__((format(printf, 1, 2))) static inline void known(const char *format, ...)
{
	size_t room = sizeof oracle.lines - oracle.length;
	va_list args;
	va_start(args, format);
	int n = vsnprintf(oracle.lines + oracle.length, room, format, args);
	va_end(args);
	if (n < 0 || (size_t) n >= room)
		abort();
	oracle.length += n;
}

static inline void figures(void)
{
	if (oracle.dir < 0)
		return;
	malloc_info(0, oracle.malloc_info);
	fflush(oracle.malloc_info);
	__typeof__(mallinfo2()) m = mallinfo2();
#define LINE(field) put(oracle.mallinfo, #field " %zu\n", (size_t) (figure) m.field)
	LINE(arena), LINE(ordblks), LINE(smblks), LINE(hblks), LINE(hblkhd);
	LINE(usmblks), LINE(fsmblks), LINE(uordblks), LINE(fordblks), LINE(keepcost);
#undef LINE
	if (oracle.count_report)
		oracle.count_report(oracle.counts);
}

/* The file appears with its content in it. */
static inline void publish(const char *name, long value)
{
	if (oracle.dir < 0) {
		put(STDOUT_FILENO, "%s %ld\n", name, value);
		return;
	}
	int fd = oracle_file(".part");
	put(fd, "%ld\n", value);
	close(fd);
	renameat(oracle.dir, ".part", oracle.dir, name);
}

static inline void announce(void)
{
	if (oracle.dir >= 0)
		if (write(oracle.known, oracle.lines, oracle.length) != (ssize_t) oracle.length)
			abort();
	publish("ready", getpid());
}

/* $HEAPX_THEN is the pad of the malloc_trim that a SIGUSR1 then asks for. Pads of 0 and 1 do the same. With
   $HEAPX_ABORT it aborts: for a core, and for a debugger that can't stop it otherwise. */
_Noreturn static inline void rest(void)
{
	if (getenv("HEAPX_ABORT"))
		abort();
	const char *pad = getenv("HEAPX_THEN");
	if (pad) {
		sigset_t set;
		int sig;
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		sigwait(&set, &sig);
		publish("trimmed", malloc_trim(strtoul(pad, NULL, 0)));
	}
	for (;;)
		pause();
}

_Noreturn static inline void checkpoint(void)
{
	no_huge_pages();
	figures();
	announce();
	rest();
}

/* A thread's last call: it meets main at the barrier and stays out of malloc. */
_Noreturn static inline void park(pthread_barrier_t *barrier)
{
	pthread_barrier_wait(barrier);
	for (;;)
		pause();
}

/* A repeatable random number from low to high, both included. */
static inline size_t between(uint64_t *seed, size_t low, size_t high)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return low + (size_t) (*seed >> 33) % (high - low + 1);
}

static inline size_t argument(int argc, char **argv, size_t otherwise)
{
	return argc > 1 ? strtoul(argv[1], NULL, 0) : otherwise;
}

#endif
