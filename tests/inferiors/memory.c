/* Memory that is in no chunk, or that a chunk shares in an unusual way; the argument names the scenario. What the
   program knows goes to "known": what, its address, its bytes, and those of them that are in RAM. */
#include "checkpoint.h"
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/shm.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { MIB = 1 << 20, SMALL = 2000, CHUNKS = 4000 };

static size_t page;
static volatile char sink;

static void *sound(void *pointer)
{
	if (pointer && pointer != (void *) -1)
		return pointer;
	perror("memory");
	_exit(3);
}

static void write_every(size_t step, volatile char *start, size_t size)
{
	for (size_t i = 0; i < size; i += step)
		start[i + 64] = 'w'; /* behind the header of a chunk */
}

static void read_pages(const char *start, size_t size)
{
	for (size_t i = 0; i < size; i += page)
		sink = start[i];
}

static void tell(const char *what, const void *start, size_t size, size_t resident)
{
	known("%s %p %zu %zu\n", what, start, size, resident);
}

static char *own(size_t size)
{
	char *start = sound(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	madvise(start, size, MADV_NOHUGEPAGE);
	return start;
}

/* Where a chunk's mapping of this size begins. */
static char *mapped_chunk(size_t size)
{
	mallopt(M_MMAP_THRESHOLD, MIB);
	char *start = (char *) sound(malloc(size - 4 * sizeof(size_t))) - 2 * sizeof(size_t);
	if ((uintptr_t) start % page)
		abort();
	madvise(start, size, MADV_NOHUGEPAGE);
	return start;
}

/* The first page in a chunk of the heap with room for so many bytes. */
static char *heap_pages(size_t size)
{
	mallopt(M_MMAP_THRESHOLD, 32 * MIB);
	return (char *) (((uintptr_t) sound(malloc(size + page)) + page - 1) & -page);
}

/* A heap of written chunks, every other one freed. */
static void small_chunks(void *chunks[CHUNKS])
{
	for (int i = 0; i < CHUNKS; i++)
		chunks[i] = memset(malloc(SMALL), 's', SMALL);
	for (int i = 0; i < CHUNKS; i += 2)
		free(chunks[i]);
}

static void anonymous(void)
{
	char *start = own(40 * MIB);
	write_every(page, start, 20 * MIB);
	tell("own", start, 40 * MIB, 20 * MIB);
}

static void share(const char *what, char *start, size_t size, size_t written)
{
	write_every(page, sound(start), written);
	tell(what, start, size, written);
}

static char *map_shared(int flags, int fd, size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);
}

static char *map_file(int fd, size_t size)
{
	if (fd < 0 || ftruncate(fd, size)) {
		perror("memory");
		_exit(3);
	}
	char *start = map_shared(0, fd, size);
	close(fd);
	return start;
}

static void shared(void)
{
	char name[64];
	snprintf(name, sizeof name, "/dev/shm/heapx-test-%d", getpid());
	int shm = open(name, O_RDWR | O_CREAT | O_EXCL, 0600); /* as shm_open, which is in librt up to 2.33 */
	unlink(name);
	int id = shmget(IPC_PRIVATE, 2 * MIB, IPC_CREAT | 0600);
	char *segment = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);

	share("shared", map_shared(MAP_ANONYMOUS, -1, 8 * MIB), 8 * MIB, 3 * MIB);
	share("shared", map_file(shm, 4 * MIB), 4 * MIB, 2 * MIB);
	share("shared", map_file(memfd_create("heapx test", MFD_CLOEXEC), 4 * MIB), 4 * MIB, MIB);
	share("shared", segment, 2 * MIB, MIB);
	share("file", map_file(openat(oracle.dir, "data", O_RDWR | O_CREAT, 0600), 4 * MIB), 4 * MIB, MIB);
}

/* Every page is read and some are written: the others are the kernel's zero page. */
static void zero(void)
{
	char *start = own(16 * MIB);
	write_every(8 * page, start, 16 * MIB);
	read_pages(start, 16 * MIB);
	tell("own", start, 16 * MIB, 2 * MIB);

	start = own(8 * MIB); /* maybe by huge zero pages */
	madvise(start, 8 * MIB, MADV_HUGEPAGE);
	read_pages(start, 8 * MIB);
	tell("own", start, 8 * MIB, 0);

	start = heap_pages(16 * MIB);
	write_every(8 * page, start, 16 * MIB);
	read_pages(start, 16 * MIB);
	tell("heap", start, 16 * MIB, 2 * MIB);

	start = mapped_chunk(16 * MIB);
	read_pages(start, 16 * MIB);
	tell("mmapped", start, 16 * MIB, page);
}

/* Parent and child share most pages; each has written some since, and read some that nobody wrote. */
static void forked(void)
{
	static void *chunks[CHUNKS];
	char *mapped = mapped_chunk(16 * MIB), *mine = own(8 * MIB), byte = 0;
	int done[2];

	small_chunks(chunks);
	write_every(page, mapped, 8 * MIB);
	read_pages(mapped + 8 * MIB, 2 * MIB);
	write_every(page, mine, 2 * MIB);
	read_pages(mine + 2 * MIB, 4 * MIB);
	if (pipe(done))
		abort();
	pid_t child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		write_every(page, mapped, MIB);
		write_every(page, mine + 2 * MIB, MIB);
		for (int i = 1; i < CHUNKS; i += 4)
			free(chunks[i]);
		if (write(done[1], &byte, 1) != 1)
			abort();
		for (;;)
			pause();
	}
	if (child < 0 || read(done[0], &byte, 1) != 1)
		abort();
	write_every(page, mine + 6 * MIB, MIB);
	known("child %d\n", child);
	tell("mmapped", mapped, 16 * MIB, 8 * MIB);
	tell("own", mine, 8 * MIB, 3 * MIB);
}

static pthread_barrier_t reached;

static void *deep(void *brought)
{
	char frame[MIB];
	pthread_attr_t attributes;
	void *stack;
	size_t size, guard;

	write_every(page, frame, sizeof frame);
	pthread_getattr_np(pthread_self(), &attributes);
	pthread_attr_getstack(&attributes, &stack, &size);
	pthread_attr_getguardsize(&attributes, &guard);
	pthread_attr_destroy(&attributes);
	known("%s %p %zu -\n", brought ? "brought" : "stack", (void *) ((char *) stack - guard), size + guard);
	pthread_barrier_wait(&reached);
	return NULL;
}

_Noreturn static void *deep_and_stay(void *brought)
{
	deep(brought);
	for (;;)
		pause();
}

static pthread_t deep_thread(void *(*run)(void *), void *brought)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 8 * MIB);
	if (brought) {
		pthread_attr_setstack(&attributes, brought, 4 * MIB);
		pthread_attr_setguardsize(&attributes, 0);
	}
	if (pthread_create(&thread, &attributes, run, brought))
		abort();
	pthread_attr_destroy(&attributes);
	pthread_barrier_wait(&reached);
	return thread;
}

/* Four threads with stacks of 8 MiB, one with a stack that the program brought, and one that has ended. */
static void stacks(void)
{
	pthread_barrier_init(&reached, NULL, 2);
	for (int i = 0; i < 4; i++)
		deep_thread(deep_and_stay, NULL);
	deep_thread(deep_and_stay, own(4 * MIB));
	pthread_join(deep_thread(deep, NULL), NULL);
}

/* Nobody has written to the locked pages. */
static void locked(void)
{
	char *heap = heap_pages(MIB), *mine = own(MIB);
	if (mlock(heap + 4 * page, 8 * page) || mlock(mine + 4 * page, 8 * page)) {
		perror("mlock");
		_exit(3);
	}
	tell("heap", heap, MIB, 8 * page);
	tell("own", mine, MIB, 8 * page);
}

static void guards(void)
{
	char *mine = own(MIB), *heap = heap_pages(MIB);
	write_every(page, mine, MIB);
	write_every(page, heap, MIB);
	if (madvise(mine, MIB / 2, MADV_GUARD_INSTALL) || madvise(heap, MIB / 2, MADV_GUARD_INSTALL))
		known("missing MADV_GUARD_INSTALL\n");
	tell("own", mine, MIB, MIB / 2);
	tell("heap", heap, MIB, MIB / 2);
}

/* Chunks in transparent huge pages, as many as the kernel gives. */
static void transparent(void)
{
	char *heap = heap_pages(12 * MIB), *mapped = mapped_chunk(16 * MIB);
	madvise(heap, 12 * MIB, MADV_HUGEPAGE);
	madvise(mapped, 16 * MIB, MADV_HUGEPAGE);
	write_every(2 * MIB, heap, 12 * MIB);
	write_every(2 * MIB, mapped, 10 * MIB);
}

static void hugetlb(void)
{
	const size_t size = 2 * MIB;
	char *start = mmap(NULL, 3 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (start == MAP_FAILED) {
		known("missing MAP_HUGETLB\n");
		return;
	}
	write_every(size, start, 2 * size);
	tell("huge", start, 3 * size, 2 * size);
}

/* After the figures, since malloc_info brings the free chunks back. */
_Noreturn static void paged_out(void)
{
	static void *chunks[CHUNKS];
	char *mapped = mapped_chunk(8 * MIB), *mine = own(8 * MIB);

	small_chunks(chunks);
	write_every(page, mapped, 8 * MIB);
	write_every(page, mine, 8 * MIB);
	madvise(mapped, 4 * MIB, MADV_PAGEOUT);
	madvise(mine, 2 * MIB, MADV_PAGEOUT);
	figures();
	madvise((char *) (((uintptr_t) chunks[0] + page) & -page), 4 * MIB, MADV_PAGEOUT);
	announce();
	rest();
}

/* A chunk of the main arena says that it is larger than the heap. */
static void broken(void)
{
	static void *chunks[CHUNKS];
	char *mine = own(4 * MIB);

	small_chunks(chunks);
	write_every(page, mine, MIB);
	((size_t *) chunks[CHUNKS / 2 + 1])[-1] |= 1 << 30;
	tell("own", mine, 4 * MIB, MIB);
}

/* Two chunks with mappings of their own, one without its header. */
static void lost_header(void)
{
	char *mapped = mapped_chunk(16 * MIB);
	mapped_chunk(4 * MIB);
	write_every(page, mapped, MIB);
	memset(mapped, 'x', 4 * sizeof(size_t));
}

/* Without randomization the break begins where .bss ends, and both are one mapping. */
static void unrandomized(char **argv)
{
	static void *chunks[CHUNKS];
	int old = personality(0xffffffff);

	if (!(old & ADDR_NO_RANDOMIZE)) {
		if (personality(old | ADDR_NO_RANDOMIZE) < 0)
			_exit(3);
		execv("/proc/self/exe", argv);
		_exit(3);
	}
	small_chunks(chunks);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
		{ "anonymous", anonymous }, { "shared", shared }, { "zero", zero }, { "forked", forked },
		{ "stacks", stacks }, { "locked", locked }, { "guards", guards }, { "transparent", transparent },
		{ "hugetlb", hugetlb }, { "paged_out", paged_out }, { "broken", broken }, { "lost_header", lost_header },
	};
	const char *name = argc > 1 ? argv[1] : "";

	page = sysconf(_SC_PAGESIZE);
	if (!strcmp(name, "unrandomized")) {
		unrandomized(argv);
		checkpoint();
	}
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		if (!strcmp(name, scenarios[i].name)) {
			scenarios[i].run();
			checkpoint();
		}
	return 2;
}
