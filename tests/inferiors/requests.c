/* A server whose every request keeps two chunks of 1,008 bytes, and frees what else it used. */
#include "checkpoint.h"

static void *kept[1 << 16];
static size_t number;

__attribute__((noinline)) void handle_request(void)
{
	char *work = malloc(5000);

	memset(work, 1, 5000);
	kept[number++ % (sizeof kept / sizeof *kept)] = malloc(1000);
	kept[number++ % (sizeof kept / sizeof *kept)] = malloc(1000);
	free(work);
}

int main(void)
{
	announce();
	for (;;) {
		handle_request();
		usleep(10000);
	}
}
