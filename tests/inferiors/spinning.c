/* Threads, main among them; as many as are told wait in a system call, the newest of them, and all others work on. */
#include "checkpoint.h"

static pthread_barrier_t begun;

static void *spin(void *arg)
{
	if (arg)
		pthread_barrier_wait(&begun);
	for (;;)
		__asm__ volatile("");
	return NULL;
}

static void *wait(void *arg)
{
	(void) arg;
	pthread_barrier_wait(&begun);
	for (;;)
		pause();
	return NULL;
}

int main(int argc, char **argv)
{
	size_t waiting = argument(argc, argv, 1);

	for (int i = 0; i < 1000; i++)
		free(malloc(i));
	pthread_barrier_init(&begun, NULL, waiting + 2);
	pthread_create(&(pthread_t) { 0 }, NULL, spin, "");
	for (size_t i = 0; i < waiting; i++)
		pthread_create(&(pthread_t) { 0 }, NULL, wait, NULL);
	pthread_barrier_wait(&begun);
	announce();
	spin(NULL);
}
