/* Wrong words in a thread's arena or tcache ("size", "tcache", "low", "bin", "top"), or in the main arena (all others).
   The figures are those from before the damage. */
#include "checkpoint.h"

enum { LARGE = 6, MMAPPED = 12 };

static pthread_barrier_t done;
static void *used, *binned, *cached[3], *last;
static void *large[LARGE], *apart[MMAPPED];
static uintptr_t *footer;

static void *thread(void *arg)
{
	free(malloc(1)); /* glibc 2.43 makes the tcache at the first free, of what is free */
	malloc(1);
	used = malloc(1000);
	binned = malloc(2000);
	for (int i = 0; i < 3; i++)
		cached[i] = malloc(100);
	last = malloc(500);
	free(binned);
	for (int i = 0; i < 3; i++)
		free(cached[i]);
	park(arg);
}

static uintptr_t *size_of(void *chunk)
{
	return (uintptr_t *) chunk - 1;
}

/* The size word of the chunk behind one in use. */
static uintptr_t *behind(void *chunk)
{
	return (uintptr_t *) ((char *) chunk + malloc_usable_size(chunk));
}

/* Large chunks in their bin: of two sizes, in runs. */
static void sort_large(void)
{
	void *between[LARGE];
	for (int i = 0; i < LARGE; i++) {
		large[i] = malloc(i % 2 ? 5000 : 5008 + 16 * (size_t) i / LARGE);
		between[i] = malloc(64);
	}
	footer = behind(large[2]) - 1; /* the last word of its memory, and prev_size once it is free */
	for (int i = 0; i < LARGE; i++)
		free(large[i]);
	free(malloc(100000)); /* sorts them in; comes from top, and goes back there */
	(void) between;
}

/* The thread's malloc_state, by the heap_info that its chunks lie behind. */
static uintptr_t *arena_of(void *chunk)
{
	size_t heap_max = sizeof(long) == 8 ? 64 << 20 : 1 << 20;
	return *(uintptr_t **) ((uintptr_t) chunk & -heap_max);
}

/* malloc_state ends in next, next_free, attached_threads, system_mem, max_system_mem; heap_info begins with
   ar_ptr, prev, size, and an arena's only heap has all that it has. */
static uintptr_t *main_system(void)
{
	uintptr_t *arena = arena_of(used), *word = arena, *main_arena;
	size_t heap_max = sizeof(long) == 8 ? 64 << 20 : 1 << 20;
	uintptr_t size = ((uintptr_t *) ((uintptr_t) used & -heap_max))[2];
	while (*word != size || word[1] != size)
		word++;
	main_arena = (uintptr_t *) word[-3];
	return main_arena + (word - arena);
}

static void overwrite(uintptr_t *word, uintptr_t garbage)
{
	*word = garbage;
	known("address %p\n", (void *) word);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	uintptr_t garbage = (uintptr_t) 0xdeadbeefdeadbeef, *word, *system;
	void *small[2] = { malloc(700), malloc(3000) }, *final;

	pthread_barrier_init(&done, NULL, 2);
	pthread_create(&(pthread_t) { 0 }, NULL, thread, &done);
	pthread_barrier_wait(&done);
	sort_large();
	for (int i = 0; i < MMAPPED; i++)
		apart[i] = malloc((200 + 8 * (size_t) i) << 10);
	final = malloc(20000);
	system = main_system();
	(void) small;
	figures();
	if (!strcmp(what, "size"))
		overwrite(size_of(used), garbage);
	else if (!strcmp(what, "tcache")) { /* however links are stored */
		word = cached[2];
		overwrite(word, garbage ^ *word ^ (uintptr_t) cached[1] ^ (uintptr_t) word);
	} else if (!strcmp(what, "low")) {
		word = cached[2];
		overwrite(word, *word ^ (uintptr_t) cached[1] ^ 4);
	} else if (!strcmp(what, "bin"))
		overwrite(binned, garbage);
	else if (!strcmp(what, "top"))
		overwrite(behind(last), 1 << 30 | 1);
	else if (!strcmp(what, "huge")) {
		overwrite(system, (uintptr_t) 1 << (8 * sizeof(long) - 4));
		overwrite(behind(final), ((uintptr_t) 1 << (8 * sizeof(long) - 4)) | 1);
	} else if (!strcmp(what, "system"))
		overwrite(system, (uintptr_t) 1 << (8 * sizeof(long) - 4));
	else if (!strcmp(what, "main-top"))
		overwrite(behind(final), garbage | 1);
	else if (!strcmp(what, "small-top"))
		overwrite(behind(final), 0x1001);
	else if (!strcmp(what, "nextsize"))
		overwrite((uintptr_t *) large[0] + 2, garbage);
	else if (!strcmp(what, "footer"))
		overwrite(footer, garbage);
	else if (!strcmp(what, "mmapped"))
		overwrite(size_of(apart[5]), garbage);
	else
		return 2;
	announce();
	rest();
}
