/* Memory that stays for a reason which the argument names. What the program knows goes to "known". */
#include "checkpoint.h"
#include <sys/mman.h>

enum { KIB = 1 << 10, MIB = 1 << 20, LOST = 16000, SMALL = 1000 };

static void *written(size_t size)
{
	void *block = malloc(size);
	if (!block)
		abort();
	return memset(block, 'w', size);
}

/* Frees blocks of this size: of the first half each below one that stays, the others at the end, where top takes
   them. All of one size may be there at a time, 16 MiB of it. */
static void freed(size_t size)
{
	void *blocks[16 * MIB / (100 * KIB)];
	size_t count = 16 * MIB / size;

	for (size_t i = 0; i < count; i++) {
		blocks[i] = written(size);
		if (i < count / 2)
			written(5000);
	}
	for (size_t i = 0; i < count; i++)
		free(blocks[i]);
}

/* Nothing points to them. $WHY_LIBRARY is loaded, and nobody calls it. */
static void leak(void)
{
	const char *library = getenv("WHY_LIBRARY");

	if (library && !dlopen(library, RTLD_NOW | RTLD_LOCAL))
		abort();
	for (int i = 0; i < LOST; i++)
		written(SMALL);
	known("held %d\n", LOST * SMALL);
}

/* Between guards, so that no neighbour becomes part of the mapping. */
static void plain(void)
{
	const size_t size = 64 * MIB, page = sysconf(_SC_PAGESIZE);
	char *start = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED || mprotect(start + page, size, PROT_READ | PROT_WRITE))
		abort();
	memset(start + page, 'w', size);
	known("mapping %p %zu\n", (void *) (start + page), size);
}

static void raised(void)
{
	free(written(20 * MIB));
	freed(MIB);
}

static void small_blocks(void)
{
	freed(100 * KIB);
}

/* Use after free: the chunk's second link leads nowhere. */
static void dangling(void)
{
	uintptr_t *block = written(2000);

	written(100);
	free(block);
	block[1] = (uintptr_t) 0xdeadbeefdeadbee0;
	known("address %p\n", (void *) (block + 1));
}

static void handler(int sig)
{
	publish("signalled", sig);
}

static void handles_signals(void)
{
	signal(SIGUSR2, handler);
	freed(100 * KIB);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
		{ "leak", leak }, { "plain", plain }, { "raised", raised }, { "small_blocks", small_blocks },
		{ "dangling", dangling }, { "handles_signals", handles_signals },
	};

	for (size_t i = 0; argc > 1 && i < sizeof scenarios / sizeof *scenarios; i++)
		if (!strcmp(argv[1], scenarios[i].name)) {
			scenarios[i].run();
			if (scenarios[i].run == dangling) {
				announce();
				rest();
			}
			checkpoint();
		}
	return 2;
}
