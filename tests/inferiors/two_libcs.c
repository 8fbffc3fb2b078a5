/* A second libc in a namespace of its own, with a heap of a few hundred chunks, half of them freed. The figures are
   the first libc's, whose malloc_trim gives back one chunk. */
#include "checkpoint.h"

enum { CHUNKS = 400, LARGE = 100000 };

int main(void)
{
	void *chunks[CHUNKS], *other = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
	if (!other) {
		dprintf(STDERR_FILENO, "%s\n", dlerror());
		return 2;
	}
	void *(*other_malloc)(size_t) = (void *(*)(size_t)) dlsym(other, "malloc");
	void (*other_free)(void *) = (void (*)(void *)) dlsym(other, "free");
	size_t bytes = 0;
	uint64_t seed = 1;
	char *large = memset(malloc(LARGE), 'w', LARGE), *wall = malloc(LARGE); /* lies above it */

	if (wall < large)
		abort();
	free(large);

	for (int i = 0; i < CHUNKS; i++)
		chunks[i] = other_malloc(between(&seed, 16, 8000));
	for (int i = 0; i < CHUNKS; i++)
		if (i % 2)
			other_free(chunks[i]);
		else
			bytes += malloc_usable_size(chunks[i]) + sizeof(size_t);
	known("other %d %zu\n", CHUNKS / 2, bytes);
	checkpoint();
}
