/* Threads and a process whose names are whatever bytes the arguments have: the process's first. The last argument
   "main_ends" makes the main thread end, so that only the others live. */
#include "checkpoint.h"

static pthread_barrier_t named;

static void *thread(void *name)
{
	prctl(PR_SET_NAME, name, 0, 0, 0);
	free(malloc(100));
	park(&named);
}

static void *last(void *unused)
{
	(void) unused;
	while (access("/proc/self/exe", F_OK) == 0) /* unreadable as soon as the main thread has ended */
		usleep(1000);
	checkpoint();
}

int main(int argc, char **argv)
{
	int ends = argc > 1 && !strcmp(argv[argc - 1], "main_ends");
	pthread_t other;
	argc -= ends;
	pthread_barrier_init(&named, NULL, argc > 2 ? argc - 1 : 1);
	if (argc > 1)
		prctl(PR_SET_NAME, argv[1], 0, 0, 0);
	for (int i = 2; i < argc; i++)
		pthread_create(&other, NULL, thread, argv[i]);
	pthread_barrier_wait(&named);
	if (!ends)
		checkpoint();
	pthread_create(&other, NULL, last, NULL);
	pthread_exit(NULL);
}
