/* Sets of chunks in use by the thread that refers to them, and from where (sets.h): registers, stacks, TLS. All chunks
   are allocated by the main thread, but those of the second arena. */
#include "sets.h"
#include <sched.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK = 256 << 10, FIBER = 64 << 10 }; /* nptl keeps the stacks of ended threads up to 40 MiB */

static struct hiding { /* for each thread: a pointer that only that thread is to have, with a key over it */
	volatile uintptr_t pointer;
	volatile int parked;
} hidings[64], *hiding = hidings;

static void *library;

static void *revealed(struct hiding *from)
{
	return (void *) (from->pointer ^ key);
}

static pthread_t start(void *(*routine)(void *))
{
	pthread_t id;
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK);
	if (pthread_create(&id, &small, routine, hiding))
		abort();
	while (!hiding->parked)
		sched_yield();
	hiding++;
	return id;
}

/* Start a thread for a chunk of this degree, and wait until it has it where it is to be. */
static pthread_t thread(void *(*routine)(void *), enum degree degree)
{
	hiding->pointer = (uintptr_t) get(degree) ^ key;
	return start(routine);
}

_Noreturn static void *on_stack(void *from)
{
	void *volatile here = revealed(from);
	(void) here;
	((struct hiding *) from)->parked = 1;
	for (;;)
		pause();
}

static void by_stack_of_thread(void)
{
	begin(__func__, 0);
	for (int i = 0; i < 3; i++)
		thread(on_stack, REACHABLE);
}

#ifdef __x86_64__
/* Have the pointer where `load` puts it from rax, and nowhere else, while the thread waits in pause(). */
#define PARK(name, load)                                                                                \
	_Noreturn static void *name(void *from)                                                         \
	{                                                                                               \
		struct hiding *h = from;                                                                \
		scrub();                                                                                \
		__asm__ volatile("mov (%0), %%rax\n\t"                                                  \
				 "xor %1, %%rax\n\t" load "\n\t"                                        \
				 "movl $1, %c2(%0)\n"                                                   \
				 "1:\tmov $34, %%eax\n\t"                                               \
				 "syscall\n\t"                                                          \
				 "jmp 1b"                                                               \
				 :                                                                      \
				 : "r"(h), "r"(key), "i"(offsetof(struct hiding, parked))               \
				 : "rax", "rbx", "r12", "rcx", "r11", "memory");                        \
		__builtin_unreachable();                                                                \
	}

PARK(in_rbx, "mov %%rax, %%rbx")
PARK(in_r12, "lea 40(%%rax), %%r12") /* to the inside */
PARK(in_xmm, "movq %%rax, %%xmm5")
PARK(in_ymm, "movq %%rax, %%xmm5; vpxor %%ymm6, %%ymm6, %%ymm6; vinserti128 $1, %%xmm5, %%ymm6, %%ymm6; vpxor %%xmm5, %%xmm5, %%xmm5")
PARK(in_zmm, "vpxorq %%zmm20, %%zmm20, %%zmm20; vmovq %%rax, %%xmm20")
PARK(in_red_zone, "mov %%rax, -64(%%rsp)")
PARK(below_stack, "mov %%rax, -4096(%%rsp)")

static void by_register(void)
{
	begin(__func__, 0);
	thread(in_rbx, REACHABLE);
}

static void by_register_to_inside(void)
{
	begin(__func__, 0);
	thread(in_r12, INTERIOR);
}

static void by_vector_register(void)
{
	begin(__func__, 0);
	thread(in_xmm, REACHABLE);
}

static void by_upper_half_of_vector_register(void)
{
	if (!__builtin_cpu_supports("avx2"))
		return;
	begin(__func__, 0);
	thread(in_ymm, REACHABLE);
}

static void by_vector_register_of_avx512(void)
{
	if (!__builtin_cpu_supports("avx512f"))
		return;
	begin(__func__, 0);
	thread(in_zmm, REACHABLE);
}

static void by_red_zone(void)
{
	begin(__func__, 0);
	thread(in_red_zone, RED_ZONE);
	thread(in_red_zone, RED_ZONE);
}

static void by_below_stack_pointer(void)
{
	begin(__func__, 0);
	thread(below_stack, LEAKED);
}
#endif

static __thread void *volatile mine;

_Noreturn static void *in_tls(void *from)
{
	mine = revealed(from);
	((struct hiding *) from)->parked = 1;
	scrub();
	for (;;)
		pause();
}

static void by_tls_of_thread(void)
{
	begin(__func__, 0);
	thread(in_tls, REACHABLE);
}

_Noreturn static void *in_tls_of_library(void *from)
{
	*((void **(*) (void) ) dlsym(library, "held_tls"))() = revealed(from);
	((struct hiding *) from)->parked = 1;
	scrub();
	for (;;)
		pause();
}

static void by_tls_of_library_in_thread(void)
{
	library = dlopen("$ORIGIN/held.so", RTLD_NOW);
	begin(__func__, 0);
	thread(in_tls_of_library, REACHABLE);
}

static pthread_key_t early, late;

static void make_keys(void)
{
	pthread_key_create(&early, NULL);
	do
		pthread_key_create(&late, NULL);
	while (late < 70);
}

_Noreturn static void *in_early_key(void *from)
{
	pthread_setspecific(early, revealed(from));
	((struct hiding *) from)->parked = 1;
	scrub();
	for (;;)
		pause();
}

_Noreturn static void *in_late_key(void *from)
{
	pthread_setspecific(late, revealed(from));
	((struct hiding *) from)->parked = 1;
	scrub();
	for (;;)
		pause();
}

static void by_pthread_key_of_thread(void)
{
	begin(__func__, 0);
	make_keys();
	thread(in_early_key, REACHABLE);
}

static void by_later_pthread_key_of_thread(void)
{
	begin(__func__, 0);
	thread(in_late_key, REACHABLE);
}

/* A stack that is far from any other: valgrind takes a short way from stack to stack for growth. */
static void *new_stack(void)
{
	void *start = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (start == MAP_FAILED)
		abort();
	return start;
}

static ucontext_t outside, fiber;

static void run(struct hiding *from)
{
	void *volatile here = revealed(from);
	(void) here;
	from->parked = 1;
	scrub();
	swapcontext(&fiber, &outside);
}

static void prepare(ucontext_t *context, void (*routine)(void), struct hiding *from)
{
	getcontext(context);
	context->uc_stack.ss_sp = new_stack();
	context->uc_stack.ss_size = FIBER;
	makecontext(context, routine, 1, from);
}

/* A fiber's stack, while nobody runs on it. */
static void by_fiber(void)
{
	begin(__func__, 0);
	hiding->pointer = (uintptr_t) get(REACHABLE) ^ key;
	prepare(&fiber, (void (*)(void)) run, hiding++);
	swapcontext(&outside, &fiber);
}

_Noreturn static void stay_in_fiber(struct hiding *from)
{
	from->parked = 1;
	for (;;)
		pause();
}

/* A thread's own stack, while the thread runs on a fiber's. */
static void *leave_for_fiber(void *from)
{
	static ucontext_t back, other;
	void *volatile here = revealed(from);
	(void) here;
	prepare(&other, (void (*)(void)) stay_in_fiber, from);
	scrub();
	swapcontext(&back, &other);
	return NULL;
}

static void by_stack_left_for_fiber(void)
{
	begin(__func__, 0);
	thread(leave_for_fiber, REACHABLE);
}

static struct hiding *in_signal;

static void handler(int sig)
{
	(void) sig;
	stay_in_fiber(in_signal);
}

/* The same, while a handler runs on a signal stack. */
static void *leave_for_handler(void *from)
{
	void *volatile here = revealed(from);
	(void) here;
	in_signal = from;
	sigaltstack(&(stack_t) { .ss_sp = new_stack(), .ss_size = FIBER }, NULL);
	sigaction(SIGUSR2, &(struct sigaction) { .sa_handler = handler, .sa_flags = SA_ONSTACK }, NULL);
	scrub();
	pthread_kill(pthread_self(), SIGUSR2);
	return NULL;
}

static void by_stack_left_for_handler(void)
{
	begin(__func__, 0);
	thread(leave_for_handler, REACHABLE);
}

/* Chunks of another arena. */
__attribute__((noinline)) static void allocate(void)
{
	__attribute__((used)) static void *held[3];
	for (int i = 0; i < 3; i++)
		held[i] = get(REACHABLE);
	begin("leaked_in_arena", 0);
	for (int i = 0; i < 5; i++)
		*(void **) get(LEAKED) = get(INDIRECT);
}

_Noreturn static void *in_arena(void *from)
{
	allocate();
	((struct hiding *) from)->parked = 1;
	scrub();
	for (;;)
		pause();
}

static void by_global_in_arena(void)
{
	begin(__func__, 0);
	start(in_arena);
}

/* Threads that have ended: nptl keeps their stacks for the next ones, with what is still in them. */
static void *end_with_stack(void *from)
{
	void *volatile here[200];
	for (int i = 0; i < 200; i++)
		here[i] = revealed(from);
	(void) here[0];
	((struct hiding *) from)->parked = 1;
	return NULL;
}

static void *end_with_tls(void *from)
{
	mine = revealed(from);
	((struct hiding *) from)->parked = 1;
	return NULL;
}

static void *end_with_tls_of_library(void *from)
{
	*((void **(*) (void) ) dlsym(library, "held_tls"))() = revealed(from);
	((struct hiding *) from)->parked = 1;
	return NULL;
}

/* Started one after the other while those before haven't ended: each gets a stack of its own. */
static pthread_barrier_t end;

#define ENDING(routine)                              \
	static void *routine##_together(void *from)  \
	{                                            \
		((struct hiding *) from)->parked = 1;\
		pthread_barrier_wait(&end);          \
		return routine(from);                \
	}

ENDING(end_with_stack)
ENDING(end_with_tls)
ENDING(end_with_tls_of_library)

static void by_ended_threads(void)
{
	pthread_t ids[6];
	pthread_barrier_init(&end, NULL, 7);
	begin("by_stack_of_ended_thread", 0);
	for (int i = 0; i < 2; i++)
		ids[i] = thread(end_with_stack_together, LEAKED);
	begin("by_tls_of_ended_thread", 0);
	for (int i = 2; i < 4; i++)
		ids[i] = thread(end_with_tls_together, LEAKED);
	begin("by_tls_of_library_of_ended_thread", 0);
	for (int i = 4; i < 6; i++)
		ids[i] = thread(end_with_tls_of_library_together, LEAKED);
	pthread_barrier_wait(&end);
	for (int i = 0; i < 6; i++)
		pthread_join(ids[i], NULL);
}

static void (*const makers[])(void) = {
	by_stack_of_thread,
#ifdef __x86_64__
	by_register, by_register_to_inside, by_vector_register, by_upper_half_of_vector_register,
	by_vector_register_of_avx512, by_red_zone, by_below_stack_pointer,
#endif
	by_tls_of_thread, by_tls_of_library_in_thread, by_pthread_key_of_thread, by_later_pthread_key_of_thread,
	by_fiber, by_stack_left_for_fiber, by_stack_left_for_handler, by_global_in_arena, by_ended_threads,
};

/* The main thread's own. It has nothing else of the heap on its stack. */
int main(void)
{
	void *volatile here;
	begin("by_stack_of_main", 0);
	here = get(REACHABLE);
	(void) here;
	SHOW(makers);
}
