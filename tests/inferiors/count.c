/* Preloaded, counts the live chunks and their bytes in each arena exactly, from the chunk headers, and never
   allocates. */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

enum { MMAPPED = 2, NON_MAIN_ARENA = 4, FLAGS = 7, ARENAS = 4096 };

static uintptr_t heap_max = sizeof(size_t) == 8 ? 64 << 20 : 1 << 20;

static struct count {
	_Atomic uintptr_t arena;
	atomic_size_t chunks, bytes;
} in_main, in_mappings, others[ARENAS];

struct chunk {
	struct count *count;
	size_t bytes;
};

/* HEAPX_HEAP_MAX is what glibc's heaps are aligned to where a tunable says so. No thread's arena is older. */
__attribute__((constructor)) static void set_heap_max(void)
{
	const char *bytes = getenv("HEAPX_HEAP_MAX");
	if (bytes)
		heap_max = strtoull(bytes, NULL, 10);
}

static struct count *count_of(uintptr_t arena)
{
	for (size_t i = arena / heap_max;; i++) {
		struct count *c = &others[i % ARENAS];
		uintptr_t none = 0;
		if (atomic_compare_exchange_strong(&c->arena, &none, arena) || none == arena)
			return c;
	}
}

/* The low bit of the size word may change under a live chunk, the rest cannot. */
static struct chunk chunk_of(void *p)
{
	size_t *header = (size_t *) p - 2;
	size_t word = __atomic_load_n(header + 1, __ATOMIC_RELAXED), size = word & ~(size_t) FLAGS;

	if (word & MMAPPED) {
		size_t total = (header[0] & ~(size_t) 1) + size;
		if (total % 4096) /* glibc 2.43: the size leaves the header out */
			total += 2 * sizeof(size_t);
		return (struct chunk) { &in_mappings, total };
	}
	if (word & NON_MAIN_ARENA)
		return (struct chunk) { count_of(*(uintptr_t *) ((uintptr_t) header & ~(heap_max - 1))), size };
	return (struct chunk) { &in_main, size };
}

static void *plus(void *p)
{
	if (p) {
		struct chunk c = chunk_of(p);
		atomic_fetch_add(&c.count->chunks, 1);
		atomic_fetch_add(&c.count->bytes, c.bytes);
	}
	return p;
}

static void minus(struct chunk c)
{
	atomic_fetch_sub(&c.count->chunks, 1);
	atomic_fetch_sub(&c.count->bytes, c.bytes);
}

void *malloc(size_t n)
{
	return plus(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
	return plus(__libc_calloc(n, size));
}

void free(void *p)
{
	if (p)
		minus(chunk_of(p));
	__libc_free(p);
}

void *realloc(void *p, size_t n)
{
	if (!p)
		return malloc(n);
	struct chunk old = chunk_of(p);
	void *q = __libc_realloc(p, n);
	if (q || n == 0)
		minus(old);
	return plus(q);
}

void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

void *memalign(size_t alignment, size_t n)
{
	return plus(__libc_memalign(alignment, n));
}

void *aligned_alloc(size_t alignment, size_t n)
{
	return memalign(alignment, n);
}

int posix_memalign(void **result, size_t alignment, size_t n)
{
	if (alignment < sizeof(void *) || alignment & (alignment - 1))
		return EINVAL;
	int saved = errno;
	void *p = memalign(alignment, n);
	errno = saved;
	if (!p)
		return ENOMEM;
	*result = p;
	return 0;
}

void *valloc(size_t n)
{
	return memalign(sysconf(_SC_PAGESIZE), n);
}

void *pvalloc(size_t n)
{
	size_t mask = sysconf(_SC_PAGESIZE) - 1, bytes;
	if (__builtin_add_overflow(n, mask, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return memalign(mask + 1, bytes & ~mask);
}

/* Not dprintf: it allocates a buffer up to glibc 2.36. */
static void line(int fd, const char *name, const struct count *c)
{
	char text[96];
	int n = snprintf(text, sizeof text, "%s %zu %zu\n", name, c->chunks, c->bytes);
	if (write(fd, text, n) != n)
		abort();
}

void count_report(int fd)
{
	line(fd, "main", &in_main);
	for (struct count *c = others; c < others + ARENAS; c++) {
		char name[32];
		snprintf(name, sizeof name, "0x%zx", (size_t) c->arena);
		if (c->arena)
			line(fd, name, c);
	}
	line(fd, "mmapped", &in_mappings);
}
