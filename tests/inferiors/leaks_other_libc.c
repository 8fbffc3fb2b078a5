/* Sets of chunks (sets.h) of two libcs: a library in a namespace of its own has its own malloc. Chunks of each are
   referred to by the other's. */
#include "sets.h"

void *held_here[2];
static void *(*other_malloc)(size_t);
static void **held_there;

static void load(void)
{
	void *library = dlmopen(LM_ID_NEWLM, "$ORIGIN/held.so", RTLD_NOW);
	if (!library) {
		put(STDERR_FILENO, "%s\n", dlerror());
		abort();
	}
	other_malloc = (void *(*)(size_t)) dlsym(library, "held_new");
	held_there = dlsym(library, "held");
}

static void *get_there(enum degree degree)
{
	return enter(other_malloc(set->request), degree);
}

static void by_library_of_other_libc(void)
{
	begin(__func__, 0);
	held_there[0] = get(REACHABLE);
}

static void of_other_libc_by_global(void)
{
	begin(__func__, 0);
	held_here[0] = get_there(REACHABLE);
	held_there[1] = get_there(REACHABLE);
}

/* From chunk to chunk, to and fro. */
static void by_chunks_of_both(void)
{
	begin(__func__, 0);
	void **at = held_here[1] = get(REACHABLE);
	for (int i = 0; i < 6; i++)
		at = at[i] = i % 2 ? get(REACHABLE) : get_there(REACHABLE);
}

static void leaked_of_other_libc(void)
{
	begin(__func__, 0);
	for (int i = 0; i < 5; i++)
		get_there(LEAKED);
}

static void leaked_of_both(void)
{
	begin(__func__, 0);
	for (int i = 0; i < 3; i++) {
		*(void **) get_there(LEAKED) = get(INDIRECT);
		*(void **) get(LEAKED) = get_there(INDIRECT);
	}
}

static void (*const makers[])(void) = {
	load, by_library_of_other_libc, of_other_libc_by_global, by_chunks_of_both, leaked_of_other_libc, leaked_of_both,
};

int main(void)
{
	SHOW(makers);
}
