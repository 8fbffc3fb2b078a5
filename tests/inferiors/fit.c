/* A heap at random, and what malloc then really does: "fit SEED [THREADS]". Main and so many threads take turns at
   building the heap, so that a seed always gives the same. What then comes through the pipe "asks" has an answer in
   the pipe "answers":
     child LWP SIZE   a forked child of that thread calls malloc: the heap stays as it is
     here LWP SIZE    the thread itself does
     more             the heap goes on changing
   Between an ask and its malloc nothing allocates. The children are the kernel's own: glibc's fork changes arenas. */
#include "checkpoint.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { KIB = 1 << 10, WORD = sizeof(size_t), NON_MAIN_ARENA = 4, FLAGS = 7, MOST_THREADS = 32, MANY = 1 << 17, LINE = 400 };

static size_t heap_max = WORD == 8 ? 64 << 20 : 1 << 20; /* the most of a thread's heap, as malloc has it */
static uint64_t seed;

struct thread {
	void (*job)(size_t);
	size_t argument;
	pid_t lwp;
	sem_t go;
	pthread_t thread;
};

static struct thread threads[MOST_THREADS]; /* the first is main; those without an LWP aren't there */
static size_t count = 1;                    /* of them */
static sem_t done;
static struct block {
	void *p;
	size_t size;
} blocks[MANY];
static size_t used; /* blocks of them */
static size_t freed[64]; /* sizes that may well fit now */
static int asks = -1, answers = -1;

/* Threads. */

static void *thread(void *arg)
{
	struct thread *me = arg;

	me->lwp = syscall(SYS_gettid);
	for (sem_post(&done);; sem_post(&done)) {
		while (sem_wait(&me->go))
			;
		if (!me->job)
			return NULL;
		me->job(me->argument);
	}
}

static void create(struct thread *t)
{
	sem_init(&t->go, 0, 0);
	if (pthread_create(&t->thread, NULL, thread, t))
		abort();
	while (sem_wait(&done))
		;
}

/* Has a thread do a job, and waits until it is done; without a job it ends. */
static void have(struct thread *t, void (*job)(size_t), size_t argument)
{
	if (t == threads) {
		job(argument);
		return;
	}
	t->job = job;
	t->argument = argument;
	sem_post(&t->go);
	if (job) {
		while (sem_wait(&done))
			;
		return;
	}
	pthread_join(t->thread, NULL);
	t->lwp = 0;
}

/* Blocks. */

static int one_of(int n)
{
	return between(&seed, 1, n) == 1;
}

/* A size of one of many kinds. */
static size_t a_size(int kind)
{
	size_t mmap_least = WORD * 16 * KIB; /* the usual threshold of 64-bit programs */

	switch (kind) {
	case 0: return between(&seed, 0, 16 * WORD);          /* fast ones */
	case 1: return between(&seed, 0, 129 * WORD);         /* what a tcache takes */
	case 2: return between(&seed, 1, 126) * WORD;         /* small ones */
	case 3: return between(&seed, 1000, 8000);            /* in the finer large bins */
	case 4: return between(&seed, 1000, mmap_least / 2);
	case 5: return (size_t) 1 << between(&seed, 4, 16);
	case 6: return between(&seed, 1000, 3000) & ~(size_t) 255; /* few sizes, so often the same */
	case 7: return between(&seed, mmap_least / 2, 2 * mmap_least);
	default: return between(&seed, mmap_least, heap_max / 16);
	}
}

static void keep(void *p, size_t size)
{
	if (!p)
		return;
	if (used == MANY)
		abort();
	blocks[used++] = (struct block) { p, size };
}

static void release(size_t i)
{
	freed[between(&seed, 0, 63)] = malloc_usable_size(blocks[i].p);
	free(blocks[i].p);
	blocks[i] = blocks[--used];
}

static size_t room(size_t most)
{
	size_t left = MANY - used;
	return most < left ? most : left;
}

/* The jobs: each takes a number of its own. Where it is a size of blocks there are few, or they are small. */

static void allocate(size_t kind)
{
	size_t n = room(between(&seed, 1, kind > 6 ? 4 : kind > 3 ? 30 : 200));
	size_t same = one_of(3) ? a_size(kind) : 0;

	while (n--) {
		size_t size = same ? same : a_size(kind);
		keep(one_of(8) && kind < 5 ? calloc(1, size) : malloc(size), size);
	}
}

static void allocate_aligned(size_t kind)
{
	for (size_t n = room(between(&seed, 1, 20)); n--;) {
		size_t size = a_size(kind % 7);
		keep(memalign((size_t) 1 << between(&seed, 5, 14), size), size);
	}
}

static void reallocate(size_t n)
{
	for (; n-- && used;) {
		struct block *b = &blocks[between(&seed, 0, used - 1)];
		size_t size = 1 + (one_of(2) ? b->size / 2 : b->size + between(&seed, 0, b->size));
		void *p = realloc(b->p, size);
		if (p)
			*b = (struct block) { p, size };
	}
}

static void free_some(size_t n)
{
	for (; n-- && used;)
		release(between(&seed, 0, used - 1));
}

/* The latest first, or the earliest; all, or every other one. */
static void free_in_order(size_t n)
{
	size_t step = between(&seed, 1, 2), at = used;
	int backwards = one_of(2);

	n = n < used / step ? n : used / step;
	for (size_t i = 0; i < n; i++) {
		size_t which = at - 1 - step * (backwards ? i : n - 1 - i);
		freed[i % 64] = malloc_usable_size(blocks[which].p);
		free(blocks[which].p);
		blocks[which].p = NULL;
	}
	for (size_t i = at - step * n; i < used;)
		if (blocks[i].p)
			i++;
		else
			blocks[i] = blocks[--used];
}

/* A row of blocks of a size, with one between them that stays in use; those of the row are freed. */
static void free_a_row(size_t size)
{
	void *row[40];
	size_t n = room(between(&seed, 1, 40));

	for (size_t i = 0; i < n; i++) {
		row[i] = malloc(size);
		keep(malloc(24), 24);
	}
	for (size_t i = 0; i < n; i++)
		free(row[i]);
	freed[between(&seed, 0, 63)] = size;
}

/* What is left over of a chunk is the last remainder. */
static void leave_a_remainder(size_t size)
{
	void *all = malloc(4000 + size);

	keep(malloc(24), 24);
	keep(malloc(heap_max / 256), heap_max / 256); /* sorts what is unsorted */
	free(all);
	keep(malloc(size % 900), size % 900);
	freed[0] = size % 900;
}

/* A request that nothing fits: all that is unsorted goes to its bin, what is fast is merged. */
static void sort(size_t size)
{
	keep(malloc(size), size);
	if (one_of(2))
		release(used - 1);
}

/* Takes back what was freed, and so leaves bits of the binmap behind. */
static void take_back(size_t n)
{
	for (n = room(n); n--;) {
		size_t size = freed[between(&seed, 0, 63)];
		keep(malloc(size), size);
	}
}

/* More than malloc sorts at once. */
static void leave_many_unsorted(size_t n)
{
	size_t first = used;

	for (n = room(2 * n); n--;) {
		size_t size = n % 2 ? between(&seed, 1100, 1500) : 24;
		keep(malloc(size), size);
	}
	for (size_t i = used; i-- > first;)
		if (blocks[i].size > 24) {
			free(blocks[i].p);
			blocks[i] = blocks[--used];
		}
}

/* The next heap of a thread is near, or the next extension of main's. */
static void fill_the_heap(size_t left)
{
	if (one_of(2))
		mallopt(M_MMAP_THRESHOLD, heap_max / 2);
	size_t sizes[] = { heap_max / 2 - heap_max / 32, heap_max / 4, heap_max / 8, heap_max / 64, left };

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes && room(1); i++)
		keep(malloc(sizes[i]), sizes[i]);
}

static void set(size_t value)
{
	static const int which[] = { M_MMAP_THRESHOLD, M_MMAP_THRESHOLD, M_TOP_PAD, M_TRIM_THRESHOLD, M_MXFAST, M_MMAP_MAX };
	int what = which[between(&seed, 0, 5)];

	if (what == M_MXFAST)
		value = between(&seed, 0, 20 * WORD);
	if (what == M_MMAP_MAX)
		value = one_of(3) ? 0 : between(&seed, 0, 100);
	if (what == M_MMAP_THRESHOLD && value > heap_max / 2)
		value = heap_max / 2;
	mallopt(what, value);
}

/* Someone else takes a part of what brk makes, or lies in its way. With huge pages sysmalloc (2.41) asserts that this
   is whole pages. */
static void meddle_with_the_break(size_t bytes)
{
	const char *tunables = getenv("GLIBC_TUNABLES");
	int whole = tunables && strstr(tunables, "hugetlb=1");
	char *up = sbrk(0) + (-(size_t) sbrk(0) & 4095) + (bytes & ~(size_t) 4095);

	if (one_of(8))
		mmap(up, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	else
		sbrk(one_of(3) && !whole ? (intptr_t) bytes : up - (char *) sbrk(0));
}

static void trim(size_t pad)
{
	malloc_trim(pad);
}

/* One change by one of the threads. */
static void change(void)
{
	struct thread *t = &threads[between(&seed, 0, count - 1)];
	size_t kind = between(&seed, 0, 8);

	if (!t->lwp) {
		create(t);
		return;
	}
	switch (between(&seed, 0, 22)) {
	case 0 ... 4: have(t, allocate, kind); break;
	case 5: have(t, allocate_aligned, kind); break;
	case 6: have(t, reallocate, between(&seed, 1, 20)); break;
	case 7 ... 8: have(t, free_some, between(&seed, 1, 100)); break;
	case 9 ... 11: have(t, free_in_order, between(&seed, 1, 300)); break;
	case 12 ... 13: have(t, free_a_row, a_size(kind)); break;
	case 14: have(t, leave_a_remainder, a_size(kind % 4)); break;
	case 15 ... 16: have(t, sort, between(&seed, heap_max / 512, heap_max / 128)); break;
	case 17 ... 18: have(t, take_back, between(&seed, 1, 40)); break;
	case 19: have(t, set, (size_t) 1 << between(&seed, 8, WORD == 8 ? 26 : 20)); break;
	case 20: have(t, one_of(6) ? fill_the_heap : allocate, kind); break;
	case 21: have(t, one_of(4) ? meddle_with_the_break : free_a_row, between(&seed, 1, 16000)); break;
	default:
		if (t != threads && one_of(2))
			have(t, NULL, 0);
		else if (one_of(4))
			have(t, trim, between(&seed, 0, heap_max));
	}
}

/* Answers. */

/* What the kernel and malloc have: the break, pages mapped and pages that can be written, then mallinfo. */
struct system {
	size_t brk, mapped, writable, arena, mmapped, mmapped_bytes;
};

static size_t number(const char **text)
{
	size_t n = 0;

	for (; **text >= '0'; ++*text)
		n = 10 * n + **text - '0';
	++*text;
	return n;
}

static struct system look(void)
{
	char text[256] = "";
	int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/statm", O_RDONLY);
	if (syscall(SYS_read, fd, text, sizeof text - 1) <= 0)
		abort();
	syscall(SYS_close, fd);
	const char *at = text;
	size_t field[6];
	for (int i = 0; i < 6; i++)
		field[i] = number(&at);
	__typeof__(mallinfo2()) m = mallinfo2();
	return (struct system) { syscall(SYS_brk, 0), field[0], field[5], (figure) m.arena, (figure) m.hblks, (figure) m.hblkhd };
}

/* The address, the chunk's size word and the next one's, the arena (0 is main's), and by how much there is more. */
static void answer(size_t size)
{
	struct system before = look();
	size_t *p = malloc(size), word = p ? p[-1] : 0, next = 0, arena = 0;
	struct system after = look();

	if (p && word & NON_MAIN_ARENA)
		arena = *(size_t *) ((size_t) p & ~(heap_max - 1));
	if (p && after.mmapped == before.mmapped)
		next = p[(word & ~(size_t) FLAGS) / WORD - 1];
	put(answers, "%zu %zu %zu %zu %zd %zd %zd %zd %zd %zd\n", (size_t) p, word, next, arena, after.brk - before.brk,
		(after.mapped - before.mapped) * getpagesize(), (after.writable - before.writable) * getpagesize(),
		after.arena - before.arena, after.mmapped - before.mmapped, after.mmapped_bytes - before.mmapped_bytes);
	if (p)
		keep(p, size);
}

static void answer_in_a_child(size_t size)
{
	int status;
	long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!child) {
		answer(size);
		syscall(SYS_exit_group, 0);
	}
	if (child < 0 || syscall(SYS_wait4, child, &status, 0, NULL) != child || status)
		put(answers, "ended\n");
}

static struct thread *by_lwp(pid_t lwp)
{
	for (size_t i = 0; i < count; i++)
		if (threads[i].lwp == lwp)
			return &threads[i];
	abort();
}

static void changes(size_t n)
{
	while (n--)
		change();
}

/* What the test can ask for: the threads, by LWP, and sizes that may well fit, or just not. */
static void tell(void)
{
	size_t top = (figure) mallinfo2().keepcost;

	for (size_t size = top - 6 * WORD; top > 8 * WORD && size < top; size += 2 * WORD)
		put(answers, "size %zu\n", size);
	for (size_t i = 0; i < count; i++)
		if (threads[i].lwp)
			put(answers, "thread %d\n", threads[i].lwp);
	for (size_t i = 0; i < 64; i++)
		if (freed[i])
			put(answers, "size %zu\n", freed[i]);
	put(answers, "end\n");
}

static size_t word_of(char *line, int which)
{
	char *word = strtok(which ? NULL : line, " ");
	return word ? strtoull(word, NULL, 0) : 0;
}

_Noreturn static void serve(void)
{
	for (;;) {
		char line[LINE] = "";
		for (size_t n = 0; n < LINE - 1 && read(asks, line + n, 1) == 1 && line[n] != '\n'; n++)
			;
		char first = *line;
		word_of(line, 0);
		pid_t lwp = word_of(line, 1);
		size_t size = word_of(line, 2);
		switch (first) {
		case 'c': have(by_lwp(lwp), answer_in_a_child, size); break;
		case 'h': have(by_lwp(lwp), answer, size); break;
		case 'm': changes(between(&seed, 1, 30)); /* fall through */
		case 't': tell(); break;
		default: _exit(3);
		}
	}
}

/* What is seldom by chance: many chunks unsorted, a heap nearly full, threads without a malloc. */
static void finish(void)
{
	struct thread *t = &threads[between(&seed, 0, count - 1)];

	if (!t->lwp)
		create(t);
	if (one_of(12))
		have(t, leave_many_unsorted, between(&seed, 9990, 11000));
	if (one_of(6))
		have(t, fill_the_heap, between(&seed, 0, heap_max / 16));
	if (one_of(3))
		have(t, leave_a_remainder, a_size(3));
	for (size_t i = 1; i < count; i++)
		if (!threads[i].lwp && one_of(2))
			create(&threads[i]);
}

int main(int argc, char **argv)
{
#if __GLIBC_PREREQ(2, 35) && !__GLIBC_PREREQ(2, 42)
	if (getenv("HEAPX_HEAP_MAX")) /* by which heaps are then aligned */
		heap_max = strtoull(getenv("HEAPX_HEAP_MAX"), NULL, 10);
#endif
	seed = argument(argc, argv, 1);
	count = 1 + (argc > 2 ? strtoul(argv[2], NULL, 0) : 0);
	if (count > MOST_THREADS || mkfifoat(oracle.dir, "asks", 0600) || mkfifoat(oracle.dir, "answers", 0600))
		abort();
	asks = openat(oracle.dir, "asks", O_RDWR);
	answers = openat(oracle.dir, "answers", O_RDWR);
	threads[0].lwp = getpid();
	sem_init(&done, 0, 0);
	changes(between(&seed, 5, 120));
	finish();
	figures();
	announce();
	serve();
}
