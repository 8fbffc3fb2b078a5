/* glibc aborts it: an overflow reached "top" or the "next" chunk, or it frees "twice"; or an "assert" of its own fails.
   It rests in the handler of SIGABRT, with "handler", or dies. */
#include <assert.h>
#include "checkpoint.h"

static void handler(int signal)
{
	(void) signal;
	announce();
	rest();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	char *chunk = malloc(1000), *next = malloc(2000), *last;

	if (argc > 2)
		signal(SIGABRT, handler);
	free(malloc(100));
	last = malloc(3000);
	if (!strcmp(what, "top")) {
		memset(last, 'A', malloc_usable_size(last) + sizeof(size_t));
		known("address %p\n", (void *) (last + malloc_usable_size(last) - sizeof(size_t)));
		chunk = malloc(100000);
	} else if (!strcmp(what, "next")) {
		memset(chunk, 'A', malloc_usable_size(chunk) + sizeof(size_t));
		known("address %p\n", (void *) (next - 2 * sizeof(size_t)));
		free(chunk);
		free(next);
	} else if (!strcmp(what, "twice")) {
		free(next);
		known("address %p\n", (void *) (next - 2 * sizeof(size_t)));
		free(next);
	} else
		assert(argc > 9);
	return (int) *chunk;
}
