/* Memory that isn't malloc's, of the kind that the argument names. What the program knows goes to "known": what, its
   address, its bytes, and those of them that are in RAM. */
#include "checkpoint.h"
#include <sys/mman.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

enum { MIB = 1 << 20 };

static char *sound(void *pointer)
{
	if (pointer && pointer != MAP_FAILED)
		return pointer;
	perror("outside");
	_exit(3);
}

static char *own(size_t size, int protection)
{
	return sound(mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

static void tell(const char *what, const void *start, size_t size, size_t resident)
{
	known("%s %p %zu %zu\n", what, start, size, resident);
}

/* Two mappings of one file: of the first half is written, of the second all is read. */
static void data(void)
{
	static char block[MIB];
	int fd = openat(oracle.dir, "table.db", O_RDWR | O_CREAT, 0600);
	for (int i = 0; i < 24; i++)
		if (write(fd, memset(block, 'd', MIB), MIB) != MIB)
			_exit(3);
	fsync(fd);
	char *written = sound(mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	char *read = sound(mmap(NULL, 16 * MIB, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 8 * MIB));
	memset(written, 'w', 4 * MIB);
	tell("dirty", written, 8 * MIB, 4 * MIB);
	tell("clean", read, 16 * MIB, 16 * MIB);
}

static void memfd(void)
{
	int fd = memfd_create("frames", MFD_CLOEXEC);
	if (ftruncate(fd, 8 * MIB))
		_exit(3);
	char *start = sound(mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	memset(start, 'm', 8 * MIB);
	tell("memfd", start, 8 * MIB, 8 * MIB);
}

static void named(void)
{
	char *start = own(8 * MIB, PROT_READ | PROT_WRITE);
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, 8 * MIB, "index cache"))
		known("missing PR_SET_VMA_ANON_NAME\n");
	memset(start, 'n', 8 * MIB);
	tell("named", start, 8 * MIB, 8 * MIB);
}

static pthread_barrier_t reached;

static void *deep(void *unused)
{
	char frame[MIB];
	memset(frame, 's', sizeof frame);
	__asm__ volatile("" : : "r"(frame) : "memory");
	park(&reached);
	return unused;
}

static void stacks(void)
{
	pthread_t thread;
	pthread_barrier_init(&reached, NULL, 2);
	for (int i = 0; i < 12; i++) {
		if (pthread_create(&thread, NULL, deep, NULL))
			_exit(3);
		pthread_barrier_wait(&reached);
	}
}

/* Much that malloc keeps, and much more address space that nobody has touched. */
static void reserved(void)
{
	static char *chunks[2000];
	for (int i = 0; i < 2000; i++)
		chunks[i] = memset(malloc(20000), 'r', 20000);
	for (int i = 0; i < 1999; i++)
		free(chunks[i]);
	own(512 * MIB, PROT_NONE);
	char *start = own(512 * MIB, PROT_READ | PROT_WRITE);
	madvise(start, 512 * MIB, MADV_NOHUGEPAGE);
	memset(start + 256 * MIB, 'r', MIB);
	tell("touched", start + 256 * MIB, MIB, MIB);
}

/* A library that is loaded by its name alone has memory of its own. */
static void loaded(void)
{
	void *library = sound(dlopen(getenv("HEAPX_LIBRARY"), RTLD_NOW));
	void *(*map)(size_t);
	*(void **) &map = dlsym(library, "map");
	memset(sound(map(8 * MIB)), 'l', 8 * MIB);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = { { "data", data },	{ "memfd", memfd },	  { "named", named },
			  { "stacks", stacks }, { "reserved", reserved }, { "loaded", loaded } };
	const char *name = argc > 1 ? argv[1] : "";

	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		if (!strcmp(name, scenarios[i].name)) {
			scenarios[i].run();
			checkpoint();
		}
	return 2;
}
