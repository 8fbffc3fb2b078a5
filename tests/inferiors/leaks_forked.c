/* Sets of chunks (sets.h) in a child of a process with threads: there only the thread lives that has forked. The
   others' stacks, their TLS and what pthread keys held are memory like that of threads that have ended. */
#include "sets.h"
#include <sched.h>
#include <sys/wait.h>

enum { STACK = 256 << 10 };

struct hiding {
	volatile uintptr_t pointer;
	volatile int parked;
};

void *held;
static __thread void *volatile mine;
static pthread_key_t in_key;

static void *revealed(void *from)
{
	return (void *) (((struct hiding *) from)->pointer ^ key);
}

_Noreturn static void park_as(struct hiding *from)
{
	from->parked = 1;
	scrub();
	for (;;)
		pause();
}

_Noreturn static void *on_stack(void *from)
{
	void *volatile here[50];
	for (int i = 0; i < 50; i++)
		here[i] = revealed(from);
	(void) here[0];
	park_as(from);
}

_Noreturn static void *in_tls(void *from)
{
	mine = revealed(from);
	park_as(from);
}

_Noreturn static void *by_key(void *from)
{
	pthread_setspecific(in_key, revealed(from));
	park_as(from);
}

static void thread(void *(*routine)(void *), enum degree degree)
{
	static struct hiding hidings[8], *hiding = hidings;
	pthread_t id;
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK);
	hiding->pointer = (uintptr_t) get(degree) ^ key;
	if (pthread_create(&id, &small, routine, hiding))
		abort();
	while (!hiding->parked)
		sched_yield();
	hiding++;
}

static void by_global(void)
{
	begin(__func__, 0);
	held = get(REACHABLE);
}

static void by_tls(void)
{
	begin(__func__, 0);
	mine = get(REACHABLE);
}

static void by_pthread_key(void)
{
	begin(__func__, 0);
	pthread_key_create(&in_key, NULL);
	pthread_setspecific(in_key, get(REACHABLE));
}

static void by_stack_of_thread_of_parent(void)
{
	begin(__func__, 0);
	thread(on_stack, LEAKED);
	thread(on_stack, LEAKED);
}

static void by_tls_of_thread_of_parent(void)
{
	begin(__func__, 0);
	thread(in_tls, LEAKED);
}

static void by_pthread_key_of_thread_of_parent(void)
{
	begin(__func__, 0);
	thread(by_key, LEAKED);
}

/* The parent does nothing but wait; it is the child that tells of itself. */
static void be_the_child(void)
{
	if (fork()) {
		wait(NULL);
		_exit(0);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
}

static void (*const makers[])(void) = {
	by_global, by_tls, by_pthread_key, by_stack_of_thread_of_parent, by_tls_of_thread_of_parent,
	by_pthread_key_of_thread_of_parent, be_the_child,
};

int main(void)
{
	void *volatile here;
	begin("by_stack", 0);
	here = get(REACHABLE);
	(void) here;
	SHOW(makers);
}
