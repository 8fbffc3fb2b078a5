/* Chunks with mappings of their own, plain and aligned, some freed, hardly touched, among mappings that are the
   program's and not malloc's. */
#include "checkpoint.h"
#include <sys/mman.h>

enum { CHUNKS = 200, OWN = 256 << 10 };

int main(void)
{
	static const size_t alignments[] = { 64, 4096, 65536, 2 << 20 };
	static char *chunks[CHUNKS];
	size_t size = 130 << 10;

	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	for (int i = 0; i < CHUNKS; i++, size += size / 39) { /* up to 20 MiB */
		chunks[i] = malloc(size);
		chunks[i][0] = 'x';
		if (i % 20 == 0) {
			char *own = mmap(NULL, OWN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			memset(own, 'o', OWN);
			known("own %p %d\n", (void *) own, OWN);
		}
		if (i % 10 == 0) {
			void *aligned;
			if (posix_memalign(&aligned, alignments[i / 10 % 4], 200000 + i * 1000))
				abort();
			*(char *) aligned = 'a';
			known("aligned %p %zu\n", aligned, malloc_usable_size(aligned));
		}
	}
	for (int i = 0; i < CHUNKS; i += 3)
		free(chunks[i]);
	checkpoint();
}
