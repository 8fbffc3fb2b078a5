/* A place of every kind that may or may not be a root: "kind lwp address name", one a line; lwp 0 where it is no
   thread's, kind "none" where nobody may look. Main waits in a handler on a signal stack with the argument "signal",
   "inside" where that is part of its own stack, on a fiber with "fiber". With "dontdump" cores lack a mapping. */
#include "checkpoint.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

enum { PAGES = 256 << 10, MAGIC = 0x5eed0000 };

static pthread_barrier_t ready;
static int initialised = 1, zeroed;
static void *const relocated = &initialised; /* in .data.rel.ro, which ld.so has made constant */
static __thread int local_zeroed, local_initialised = 3;
static ucontext_t fiber, back;
static pthread_key_t key;

static long lwp(void)
{
	return syscall(SYS_gettid);
}

static void place(const char *kind, long thread, const volatile void *address, const char *name)
{
	known("%s %ld %#lx %s\n", kind, thread, (unsigned long) address, name);
}

static char *map(size_t size, int flags)
{
	char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		abort();
	pages[0] = 1; /* of what nobody has touched the kernel's cores have nothing */
	return pages;
}

/* Where struct pthread has a word: nobody else knows. */
static void *in_pthread(pthread_t thread, uintptr_t word)
{
	uintptr_t *at = (uintptr_t *) thread;
	for (int i = 0; i < 2304 / (int) sizeof *at; i++)
		if (at[i] == word)
			return at + i;
	abort();
}

__attribute__((noinline)) static void places_of_thread(volatile int *in_frame)
{
	volatile char deep[1 << 14];
	deep[0] = 0;
	pthread_setspecific(key, (void *) (uintptr_t) MAGIC);
	place("stack", lwp(), in_frame, "local");
	place("none", lwp(), deep, "below");
	place("tls", lwp(), &local_zeroed, "local_zeroed");
	place("tls", lwp(), &local_initialised, "local_initialised");
	place("tls", lwp(), &errno, "errno");
	place("tls", lwp(), (void *) pthread_self(), "pthread");
	place("key", lwp(), in_pthread(pthread_self(), MAGIC), "key");
}

static void *parked(void *arg)
{
	volatile int in_frame = 1;
	places_of_thread(&in_frame);
	pthread_barrier_wait(&ready);
	for (;;)
		pause();
	return arg;
}

/* Its stack is a chunk. */
static void *parked_in_chunk(void *arg)
{
	volatile int in_frame = 1;
	place("none", lwp(), &in_frame, "in_chunk");
	pthread_barrier_wait(&ready);
	for (;;)
		pause();
	return arg;
}

static volatile long ended;

static void *ending(void *arg)
{
	volatile int in_frame = 1;
	(void) arg;
	place("none", 0, &in_frame, "ended");
	ended = lwp();
	return (void *) (uintptr_t) (MAGIC + 3);
}

#ifdef __x86_64__
static const char upper[32] __attribute__((aligned(32))) = "........" "........" "in a ymm" "in a ymm";

static void *in_registers(void *arg)
{
	place("registers", lwp(), NULL, arg ? "ymm" : "xmm");
	pthread_barrier_wait(&ready);
	if (arg)
		__asm__ volatile("vmovdqa %0, %%ymm6" : : "m"(upper));
	__asm__ volatile("movabs $0x5eed0006, %%rax; movq %%rax, %%mm4\n\t"
			 "movabs $0x5eed0001, %%r12; movabs $0x5eed0002, %%rax; movq %%rax, %%xmm7\n"
			 "1:\tmov %0, %%eax\n\tsyscall\n\tjmp 1b" : : "i"(SYS_pause) : "rax", "r12", "xmm7", "mm4", "rcx", "r11");
	return NULL;
}
#endif

static void in_fiber(void)
{
	volatile int in_frame = 1;
	place("mapping", 0, &in_frame, "fiber");
	swapcontext(&fiber, &back);
}

static void start(void *(*routine)(void *), void *arg, char *stack)
{
	pthread_t thread;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	if (stack)
		pthread_attr_setstack(&attributes, stack, PAGES);
	if (pthread_create(&thread, &attributes, routine, arg))
		abort();
	pthread_barrier_wait(&ready);
}

/* A thread that has ended and that nobody has joined; its struct pthread has what it returned. */
static pthread_t left_behind(void)
{
	char path[64];
	pthread_t thread;
	ended = 0;
	if (pthread_create(&thread, NULL, ending, NULL))
		abort();
	while (!ended)
		usleep(1000);
	snprintf(path, sizeof path, "/proc/self/task/%ld", ended);
	while (!access(path, F_OK))
		usleep(1000);
	return thread;
}

static void on_signal(int number)
{
	volatile int in_frame = number;
	if (oracle.known >= 0)
		place("stack", lwp(), &in_frame, "handler");
	checkpoint();
}

/* Wait in a handler on this stack. */
__attribute__((noinline)) static void on_signal_stack(void *stack)
{
	volatile int in_frame = 1;
	place("stack", lwp(), &in_frame, "interrupted");
	sigaltstack(&(stack_t) { .ss_sp = stack, .ss_size = PAGES }, NULL);
	sigaction(SIGUSR2, &(struct sigaction) { .sa_handler = on_signal, .sa_flags = SA_ONSTACK }, NULL);
	raise(SIGUSR2);
	in_frame = 2;
}

static void wait_in_fiber(void)
{
	volatile int in_frame = 1;
	place("stack", lwp(), &in_frame, "handler");
	checkpoint();
}

static void on_fiber(void)
{
	getcontext(&fiber);
	fiber.uc_stack.ss_sp = map(PAGES, MAP_PRIVATE);
	fiber.uc_stack.ss_size = PAGES;
	makecontext(&fiber, wait_in_fiber, 0);
	swapcontext(&back, &fiber);
}

int main(int argc, char **argv)
{
	volatile int in_frame = 1;
	pthread_barrier_init(&ready, NULL, 2);
	pthread_key_create(&key, NULL);
	places_of_thread(&in_frame);
	place("global", 0, &initialised, "initialised");
	place("global", 0, &zeroed, "zeroed");
	place("global", 0, &relocated, "relocated");
	place("global", 0, stdout, "stdout");
	place("mapping", 0, map(PAGES, MAP_PRIVATE), "mapping");
	place("shared", 0, map(PAGES, MAP_SHARED), "shared");
	char *protected = map(PAGES, MAP_PRIVATE);
	mprotect(protected, PAGES, PROT_READ);
	place("mapping", 0, protected, "protected");
	place("none", 0, malloc(100), "chunk");
	place("none", 0, malloc(1 << 20), "mmapped");
	place("none", 0, sbrk(0) - 64, "top");

	int ends[2], polled = epoll_create1(0);
	if (pipe(ends) || epoll_ctl(polled, EPOLL_CTL_ADD, ends[0], &(struct epoll_event) { .data.u64 = MAGIC + 5 }))
		abort();
	place("kernel", getpid(), (void *) (uintptr_t) (MAGIC + 5), "epoll");

	struct sigevent event = { .sigev_notify = SIGEV_NONE, .sigev_value.sival_ptr = (void *) (uintptr_t) (MAGIC + 7) };
	timer_t timer;
	if (timer_create(CLOCK_MONOTONIC, &event, &timer))
		abort();
	place("kernel", getpid(), event.sigev_value.sival_ptr, "timer");

	getcontext(&fiber);
	fiber.uc_stack.ss_sp = map(PAGES, MAP_PRIVATE);
	fiber.uc_stack.ss_size = PAGES;
	makecontext(&fiber, in_fiber, 0);
	swapcontext(&back, &fiber);

	place("tls", 0, in_pthread(left_behind(), MAGIC + 3), "result");
	start(parked, NULL, NULL);
	start(parked, NULL, map(PAGES, MAP_PRIVATE));
	start(parked_in_chunk, NULL, memalign(4096, PAGES));
#ifdef __x86_64__
	start(in_registers, NULL, NULL);
	if (__builtin_cpu_supports("avx"))
		start(in_registers, &key, NULL);
#endif
	pthread_join(left_behind(), NULL); /* nptl keeps its stack */
	const char *where = argc > 1 ? argv[1] : "";
	if (!strcmp(where, "dontdump"))
		madvise(map(PAGES, MAP_PRIVATE), PAGES, MADV_DONTDUMP);
	char inside[PAGES];
	if (!strcmp(where, "signal"))
		on_signal_stack(map(PAGES, MAP_PRIVATE));
	if (!strcmp(where, "inside"))
		on_signal_stack(inside);
	if (!strcmp(where, "fiber"))
		on_fiber();
	checkpoint();
}
