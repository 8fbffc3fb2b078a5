/* Chunks with mappings of their own that the kernel has cut into several, each in another way, beside others that it
   has merged. */
#include "checkpoint.h"
#include <sys/mman.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

enum { MIB = 1 << 20, KINDS = 8, ROUNDS = 5 };

static void cut(int kind, char *part, size_t size)
{
	switch (kind) {
	case 0: madvise(part, size, MADV_HUGEPAGE); break;
	case 1: madvise(part, size, MADV_DONTFORK); break;
	case 2: madvise(part, size, MADV_DONTDUMP); break;
	case 3: mlock(part, 64 << 10); break;
	case 4: mprotect(part, size, PROT_READ); break;
	case 5: mprotect(part, size, PROT_NONE); break;
	case 6: prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, part, size, "buffer"); break;
	}
}

int main(void)
{
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	for (int i = 0; i < ROUNDS * KINDS; i++) {
		void *aligned;
		if (posix_memalign(&aligned, i % 3 ? 2 * MIB : 4096, 3 * MIB + i * 8192))
			abort();
		*(char *) memset(aligned, 'a', 200000) = 'b';
		known("aligned %p %zu\n", aligned, malloc_usable_size(aligned));
		char *page = (char *) (((uintptr_t) aligned + MIB) & -(uintptr_t) 4096);
		cut(i % KINDS, page, MIB);
		malloc(130000 + i * 4096);
	}
	checkpoint();
}
