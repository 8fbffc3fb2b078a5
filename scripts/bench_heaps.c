/* Heaps to measure heapx on: the same each time.
 *
 *     bench_heaps HEAP [N]
 *
 * Prints "ready" when the heap stands. From then on a thread looks at the clock every millisecond; SIGUSR1
 * makes it print the microseconds of the longest gap between two looks since the last SIGUSR1, which is how
 * long the process stood still. It ends with its parent. */

#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { STACK = 256 << 10, MEAN_OF_LISTED = 136 }; /* bytes, the latter of a chunk of fill_listed */
enum { SHARED = 1, SCATTERED = 2 };               /* threads share the number; free in shuffled order */

struct job { /* what one thread fills its arena with */
    uint64_t random;
    long number;
    bool scattered;
};

struct kind {
    const char *name;
    void (*fill)(struct job *);
    long number;  /* without N: of chunks, or what the name says */
    long threads; /* each with an arena; 0: N of them */
    unsigned how;
};

static struct kind kind;
static long number;
static pthread_barrier_t filled;
void *everything; /* what holds all chunks of P */

static void fail(const char *what) {
    fprintf(stderr, "bench_heaps: %s\n", what);
    exit(1);
}

static uint32_t draw(struct job *self, uint32_t limit) {
    self->random = self->random * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
    return (uint32_t)(self->random >> 33) % limit;
}

static char *get(size_t size) {
    char *block = malloc(size);
    if (!block)
        fail("out of memory: ask for a smaller N");
    return memset(block, 1, size); /* memory that is never written is not resident */
}

/* Pages that aren't malloc's, so that what remembers the chunks leaves nothing among them. */
static void *map(size_t size) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        fail("out of memory: ask for a smaller N");
    return pages;
}

static void shuffle(struct job *self, void **blocks, long count) {
    for (long i = count - 1; i > 0; i--) {
        long j = draw(self, i + 1);
        void *block = blocks[i];
        blocks[i] = blocks[j];
        blocks[j] = block;
    }
}

static void free_all(struct job *self, void **blocks, long count) {
    if (self->scattered)
        shuffle(self, blocks, count);
    for (long i = 0; i < count; i++)
        free(blocks[i]);
}

/* M: many sizes, up to 2,000 bytes and most of them small. Every third is freed. */
static void fill_mixed(struct job *self) {
    void **blocks = map(self->number * sizeof *blocks);
    for (long i = 0; i < self->number; i++) {
        uint32_t widest = draw(self, 101);
        blocks[i] = get(24 + draw(self, 1977) * widest / 100);
    }
    for (long i = 0; i < self->number; i += 3)
        free(blocks[i]);
    munmap(blocks, self->number * sizeof *blocks);
}

static size_t dense_size(struct job *self) {
    return 24 + draw(self, 49);
}

/* D: small chunks side by side. Every eighth is freed: a fast chunk. */
static void fill_dense(struct job *self) {
    long count = (self->number + 7) / 8;
    void **blocks = map(count * sizeof *blocks);
    for (long i = 0; i < self->number; i++) {
        char *block = get(dense_size(self));
        if (i % 8 == 0)
            blocks[i / 8] = block;
    }
    free_all(self, blocks, count);
    munmap(blocks, count * sizeof *blocks);
}

/* stale: as D. Then a hundredth is taken again and keeps, as its first word, the link of the list it was in. */
static void fill_stale(struct job *self) {
    fill_dense(self);
    for (long i = 0; i < self->number / 100; i++) {
        size_t size = dense_size(self);
        char *block = malloc(size);
        if (block)
            memset(block + sizeof(void *), 1, size - sizeof(void *));
    }
}

/* L: sizes of fast chunks and larger ones. 85 of 100 are freed: long lists of fast chunks. */
static void fill_listed(struct job *self) {
    long count = 0;
    void **blocks = map(self->number * sizeof *blocks);
    for (long i = 0; i < self->number; i++) {
        bool small = draw(self, 10) < 7;
        char *block = get(small ? 24 + draw(self, 97) : 128 + draw(self, 263));
        if (draw(self, 100) < 85)
            blocks[count++] = block;
    }
    free_all(self, blocks, count);
    munmap(blocks, self->number * sizeof *blocks);
}

/* F: free pieces that can't merge, each between two that stay. Half of them are sorted into small bins, the
 * rest are unsorted: one malloc sorts 10,000 (MAX_ITERS of malloc.c) where none fits. */
static void fill_pieces(struct job *self) {
    void **blocks = map(self->number * sizeof *blocks);
    for (long i = 0; i < self->number; i++) {
        blocks[i] = get(136 + draw(self, 201)); /* chunks of 144 to 352 bytes: too large for fastbins */
        get(16 + draw(self, 33));
    }
    free_all(self, blocks, self->number);
    for (long i = 0; i < self->number / 2 / 10000; i++)
        get(2000);
    munmap(blocks, self->number * sizeof *blocks);
}

/* P: chunks of 64 bytes with two pointers each. The first leads through all of them, in no order of addresses,
 * from one global variable on; the second leads to any of them. */
static void fill_pointers(struct job *self) {
    void ***blocks = map(self->number * sizeof *blocks);
    for (long i = 0; i < self->number; i++)
        blocks[i] = (void **)get(56);
    shuffle(self, (void **)blocks, self->number);
    for (long i = 0; i < self->number; i++) {
        blocks[i][0] = blocks[(i + 1) % self->number];
        blocks[i][1] = blocks[draw(self, self->number)];
    }
    everything = blocks[0];
    munmap(blocks, self->number * sizeof *blocks);
}

/* T, arenas, and the heap beside mappings: some hundred chunks; every second is freed. */
static void fill_little(struct job *self) {
    enum { COUNT = 500 };
    void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++)
        blocks[i] = get(24 + draw(self, 1000));
    for (int i = 0; i < COUNT; i += 2)
        free(blocks[i]);
}

/* mmapped: chunks of a page each. The kernel merges their mappings: there may be 65,530 of them. */
static void fill_mmapped(struct job *self) {
    mallopt(M_MMAP_MAX, self->number < 1 << 30 ? self->number : 1 << 30);
    mallopt(M_MMAP_THRESHOLD, 2048);
    for (long i = 0; i < self->number; i++)
        get(3000 + draw(self, 1000));
}

/* mappings: pages that can be written beside pages that can't, so that none merge. */
static void fill_mappings(struct job *self) {
    long page = sysconf(_SC_PAGESIZE);
    char *pages = map(self->number * page);
    for (long i = 0; i < self->number; i++) {
        pages[i * page] = 1;
        if (i % 2 && mprotect(pages + i * page, page, PROT_READ))
            fail("no more mappings: ask for a smaller N, or raise vm.max_map_count");
    }
    fill_little(self);
}

/* big: as L, until N GiB are full. */
static void fill_big(struct job *self) {
    self->number = (self->number << 30) / kind.threads / MEAN_OF_LISTED;
    fill_listed(self);
}

static const struct kind kinds[] = {
    {"M", fill_mixed, 1100000, 4, SHARED},
    {"W", fill_mixed, 2000000, 64, SHARED},
    {"D", fill_dense, 32000000, 1, 0},
    {"L", fill_listed, 15000000, 4, SHARED},
    {"F", fill_pieces, 7500000, 1, 0},
    {"P", fill_pointers, 10000000, 1, 0},
    {"Ls", fill_listed, 15000000, 4, SHARED | SCATTERED},
    {"Fs", fill_pieces, 7500000, 1, SCATTERED},
    {"T", fill_little, 200, 0, 0},
    {"arenas", fill_little, 1000, 0, 0},
    {"mappings", fill_mappings, 60000, 1, 0},
    {"mmapped", fill_mmapped, 1000000, 1, 0},
    {"stale", fill_stale, 32000000, 1, 0},
    {"big", fill_big, 10, 40, 0},
};

static void fill(long thread) {
    struct job job = {thread + 1, kind.how & SHARED ? number / kind.threads : number, kind.how & SCATTERED};
    kind.fill(&job);
}

static void *work(void *thread) {
    fill((long)thread);
    pthread_barrier_wait(&filled);
    for (;;)
        pause();
    return NULL;
}

static uint64_t microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * UINT64_C(1000000) + now.tv_nsec / 1000;
}

/* Look at the clock, and answer SIGUSR1. It never mallocs: it has no tcache, and waits for no arena. */
static void *stamp(void *asked) {
    static const struct timespec millisecond = {0, 1000000};
    uint64_t last = microseconds(), longest = 0;
    for (;;) {
        int signal = sigtimedwait(asked, NULL, &millisecond);
        uint64_t now = microseconds();
        longest = now - last > longest ? now - last : longest;
        last = now;
        if (signal == SIGUSR1) {
            char line[32];
            int length = snprintf(line, sizeof line, "%llu\n", (unsigned long long)longest);
            if (write(1, line, length) != length)
                _exit(1);
            longest = 0;
        }
    }
}

static void start(void *(*routine)(void *), void *argument) {
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    if (pthread_create(&thread, &small, routine, argument))
        fail("no more threads: ask for a smaller N");
    pthread_attr_destroy(&small);
}

static bool choose(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(argv[1], kinds[i].name))
            kind = kinds[i];
    number = argc > 2 ? atol(argv[2]) : kind.number;
    if (!kind.threads)
        kind.threads = number;
    return kind.name && number > 0 && argc < 4;
}

int main(int argc, char **argv) {
    if (!choose(argc, argv)) {
        fprintf(stderr, "bench_heaps: HEAP is one of scripts/bench, N a number: bench_heaps HEAP [N]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* where Yama guards ptrace (ptrace_scope 1) */
    mallopt(M_ARENA_MAX, kind.threads < 1 << 30 ? kind.threads : 1 << 30); /* or the CPUs limit them */

    sigset_t asked; /* blocked in each thread, so that sigtimedwait() gets it */
    sigemptyset(&asked);
    sigaddset(&asked, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &asked, NULL);

    pthread_barrier_init(&filled, NULL, kind.threads);
    for (long i = 1; i < kind.threads; i++)
        start(work, (void *)i);
    fill(0);
    pthread_barrier_wait(&filled);
    start(stamp, &asked);
    if (write(1, "ready\n", 6) != 6) /* stdio would malloc a buffer, which merges all fast chunks */
        return 1;
    for (;;)
        pause();
}
