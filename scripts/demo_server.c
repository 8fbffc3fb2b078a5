/* A server whose RES climbs to a peak in a load test and stays there, though it frees what it allocated.
 *
 *     demo_server [MB [THREADS]]
 *
 * A ring of workers. Each takes requests in and hands every message to its neighbour, who answers and
 * frees it: memory from one thread's arena, freed by another thread. The back end stalls, so messages
 * pile up to MB; then it recovers, all are freed and the workers wait for more. What is left are the
 * sessions: a few hundred KiB, but spread over all heaps. Prints "ready PID" and waits: for SIGUSR1, by which
 * the main thread exports what was answered, into memory of its own arena; for SIGTERM, which ends it. */

#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Sizes are spread evenly over powers of two: most messages are small, most bytes in large ones. All are
 * below M_MMAP_THRESHOLD (128 KiB): larger ones would have mappings of their own, which free() unmaps. */
enum { SMALLEST_BIT = 6, LARGEST_BIT = 15 };

/* One session in so many messages is about one in 600 KiB. Free memory below one is not given back:
 * free() only ever returns the end of a heap. */
enum { MESSAGES_PER_SESSION = 64 };

/* An export has a page for so many MB of the peak, and takes its time for each. Pages stay until they are
 * fetched, which nobody does here. */
enum { EXPORT_PAGE = 96 << 10, MB_PER_PAGE = 4, MICROSECONDS_PER_PAGE = 10000 };

struct block { /* a message, a session or a page: it lies in a list, and has a body */
    struct block *next;
    size_t size; /* of all of it */
    char body[];
};

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct block *first, *last; /* the messages to answer */
    struct block *sessions;     /* reachable to the end: valgrind is right that nothing is lost */
    struct worker *neighbour;
    uint32_t random;
    bool closed;
};

static atomic_size_t backlog; /* bytes of messages not answered yet */
static size_t peak;
static pthread_barrier_t stalled, recovered;

static uint32_t draw(struct worker *self, uint32_t limit) {
    self->random ^= self->random << 13; /* xorshift32: each run is the same */
    self->random ^= self->random >> 17;
    self->random ^= self->random << 5;
    return self->random % limit;
}

static struct block *allocate(size_t size) {
    struct block *block = malloc(size);
    if (!block) {
        fprintf(stderr, "demo_server: out of memory: ask for fewer MB.\n");
        exit(1);
    }
    memset(block, 0x5a, size); /* memory that is never written is not resident */
    block->size = size;
    return block;
}

static void put(struct worker *to, struct block *message) {
    message->next = NULL;
    pthread_mutex_lock(&to->lock);
    if (to->first)
        to->last->next = message;
    else
        to->first = message;
    to->last = message;
    pthread_cond_signal(&to->filled);
    pthread_mutex_unlock(&to->lock);
}

/* The next message; waits for one, and returns NULL when the queue is closed. */
static struct block *take(struct worker *self) {
    pthread_mutex_lock(&self->lock);
    while (!self->first && !self->closed)
        pthread_cond_wait(&self->filled, &self->lock);
    struct block *message = self->first;
    if (message)
        self->first = message->next;
    pthread_mutex_unlock(&self->lock);
    return message;
}

static void *work(void *argument) {
    struct worker *self = argument;
    struct block *message;

    for (unsigned count = 1; atomic_load(&backlog) < peak; count++) {
        size_t octave = (size_t)1 << (SMALLEST_BIT + draw(self, LARGEST_BIT - SMALLEST_BIT + 1));
        size_t size = octave + draw(self, octave);
        put(self->neighbour, allocate(size));
        atomic_fetch_add(&backlog, size);
        if (count % MESSAGES_PER_SESSION == 0) {
            struct block *session = allocate(48 + draw(self, 153));
            session->next = self->sessions;
            self->sessions = session;
        }
    }
    pthread_barrier_wait(&stalled);
    pthread_barrier_wait(&recovered);
    while ((message = take(self))) {
        size_t size = message->size;
        free(message);
        atomic_fetch_sub(&backlog, size);
    }
    return NULL;
}

/* A line of the export. It is freed once it is in its page: each has the memory of the one before. */
static size_t render_line(unsigned number) {
    char *line = malloc(256);
    size_t length = line ? (size_t)snprintf(line, 256, "%u messages answered\n", number) : 0;
    free(line);
    return length;
}

static struct block *export_page(struct block *pages) {
    struct block *page = malloc(EXPORT_PAGE);
    if (!page)
        return pages;
    memset(page, 0x20, EXPORT_PAGE);
    page->next = pages;
    page->size = EXPORT_PAGE;
    for (size_t written = 0, line = 0; written < EXPORT_PAGE / 2; line++)
        written += render_line(line) + 1;
    return page;
}

static long resident_kib(void) {
    long kib = 0;
    char line[128];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (status)
        fclose(status);
    return kib;
}

/* What the engineer looked at, in the int interface he had: it wraps at 2 GiB. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static struct mallinfo mallinfo_and_rss(long *rss) {
    *rss = resident_kib();
    return mallinfo();
}

static void row(const char *name, const char *meaning, long long at_peak, long long now) {
    printf("%-8s  %-30s  %14lld  %14lld\n", name, meaning, at_peak, now);
}

int main(int argc, char **argv) {
    size_t mb = argc > 1 ? strtoul(argv[1], NULL, 10) : 2048;
    unsigned threads = argc > 2 ? strtoul(argv[2], NULL, 10) : 8;
    if (!mb || mb > SIZE_MAX >> 20 || !threads || argc > 3) {
        fprintf(stderr, "demo_server: MB and THREADS are positive numbers: demo_server [MB [THREADS]]\n");
        return 2;
    }
    peak = mb << 20;

    /* Where Yama guards ptrace (ptrace_scope 1), gdb may only attach to its own children otherwise. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);

    sigset_t asked; /* blocked before any thread starts, so that sigwait() below gets them */
    sigemptyset(&asked);
    sigaddset(&asked, SIGUSR1);
    sigaddset(&asked, SIGTERM); /* not SIGINT: sigwait() would take it from a gdb that waits for it */
    pthread_sigmask(SIG_BLOCK, &asked, NULL);

    pthread_barrier_init(&stalled, NULL, threads + 1);
    pthread_barrier_init(&recovered, NULL, threads + 1);
    struct worker *workers = calloc(threads, sizeof *workers);
    for (unsigned i = 0; workers && i < threads; i++) {
        workers[i].neighbour = &workers[(i + 1) % threads];
        workers[i].random = 2463534242u + i;
        pthread_mutex_init(&workers[i].lock, NULL);
        pthread_cond_init(&workers[i].filled, NULL);
    }
    for (unsigned i = 0; i < threads; i++)
        if (!workers || pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
            fprintf(stderr, "demo_server: no more threads: ask for fewer THREADS.\n");
            return 1;
        }

    long rss_at_peak, rss;
    pthread_barrier_wait(&stalled);
    struct mallinfo at_peak = mallinfo_and_rss(&rss_at_peak);
    printf("peak reached\n");
    fflush(stdout);
    pthread_barrier_wait(&recovered);
    while (atomic_load(&backlog))
        usleep(10000);
    struct mallinfo now = mallinfo_and_rss(&rss);

    printf("%-8s  %-30s  %14s  %14s\n", "", "", "at the peak", "all answered");
    row("arena", "bytes from the system", at_peak.arena, now.arena);
    row("ordblks", "free chunks", at_peak.ordblks, now.ordblks);
    row("hblks", "mmapped chunks", at_peak.hblks, now.hblks);
    row("hblkhd", "bytes in them", at_peak.hblkhd, now.hblkhd);
    row("uordblks", "bytes in use", at_peak.uordblks, now.uordblks);
    row("fordblks", "bytes free", at_peak.fordblks, now.fordblks);
    row("keepcost", "bytes at the top, to trim", at_peak.keepcost, now.keepcost);
    row("VmRSS", "KiB resident, says the kernel", rss_at_peak, rss);
    printf("ready %d\n", (int)getpid());
    fflush(stdout);

    struct block *pages = NULL;
    for (int received; !sigwait(&asked, &received) && received == SIGUSR1;) {
        for (size_t i = 0; i < mb / MB_PER_PAGE; i++) {
            pages = export_page(pages);
            usleep(MICROSECONDS_PER_PAGE);
        }
        printf("exported %zu pages of %d bytes\n", mb / MB_PER_PAGE, EXPORT_PAGE);
        fflush(stdout);
    }
    for (struct block *next; pages; pages = next) {
        next = pages->next;
        free(pages);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_mutex_lock(&workers[i].lock);
        workers[i].closed = true;
        pthread_cond_signal(&workers[i].filled);
        pthread_mutex_unlock(&workers[i].lock);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        for (struct block *session = workers[i].sessions, *next; session; session = next) {
            next = session->next;
            free(session);
        }
    }
    free(workers);
    return 0;
}
