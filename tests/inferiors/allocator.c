/* A library that looks like a copy of jemalloc, and maps memory. */
#include <sys/mman.h>

int mallctl(const char *name)
{
	return !name;
}

void *map(unsigned long size)
{
	return mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
