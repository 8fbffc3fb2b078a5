/* A server whose every request keeps two chunks of 1,008 bytes, and frees what else it used; and some
 * other threads that allocate and free meanwhile. */
#include "checkpoint.h"

static void *volatile kept[1 << 16];
static size_t number;

__attribute__((noinline)) void handle_request(void)
{
	char *work = malloc(5000);

	memset(work, 1, 5000);
	kept[number++ % (sizeof kept / sizeof *kept)] = malloc(1000);
	kept[number++ % (sizeof kept / sizeof *kept)] = malloc(1000);
	free(work);
}

static void *other(void *arg)
{
	for (;;) {
		free(malloc(100));
		usleep(1000);
	}
	return arg;
}

int main(int argc, char **argv)
{
	size_t threads = argument(argc, argv, 0);

	for (size_t i = 0; i < threads; i++)
		pthread_create(&(pthread_t) { 0 }, NULL, other, NULL);
	announce();
	for (;;) {
		handle_request();
		usleep(10000);
	}
}
