/* The walk over the chunks of a heap, compiled: what scan.py and the folds of tally.py do, for 64-bit
   little-endian targets.  compiled.py calls it through ctypes; `struct walk` is declared there, too.

   It is freestanding and needs no symbol of any library, so one binary per architecture runs under
   every libc and every Python.  No word of the process is trusted: each read of `words` is within
   `count`, each of `states` within the heap.  */

#include <stdint.h>

typedef uint64_t u64;
typedef unsigned __int128 u128;

#define EXPORT __attribute__((visibility("default")))
#define ALWAYS static inline __attribute__((always_inline))

enum { SIZES = 4096, FAST_SIZES = 64, EVENTS = 512, TRAIL = 512, MOST_EVENTS = 6, FLAWS = 8 };
enum { PREV_INUSE = 1, FLAGS = 7, OWN = 1, MET = 2 };
enum { PREV_SIZE, SIZE, FD, BK, FD_NEXTSIZE, BK_NEXTSIZE };          /* the words of a malloc_chunk */
enum { RESIDENT = 1, SWAPPED = 2, SHARED = 4, LOCKED = 0x80 };       /* a page's state (pages.py) */
enum { LANDMARK, BIG_USED, BIG_FREE, FLAW, MOSTLY_FREE };            /* what an event is */

struct amount { u64 bytes, resident, swapped, shared; };
struct links { u64 chunks, fds, bks, twist; };
struct event { u64 kind, address, size; };

/* The chunks of one size that look fast: their number, the ends of lists among them, the sums of
   their addresses and links and of the squares of these, less each other; what isn't in memory.  */
struct fast { u64 chunks, ends, addresses, links, squares, absent, swapped, shared; };

struct walk {
    /* What is given: the heap's end, MINSIZE, the bits that no size word has, MIN_LARGE_SIZE; the pages'
       states, a byte each, from an address on, null if unknown; whether holes are wanted, the smallest
       chunk that malloc_trim looks into, its struct's size.  */
    u64 limit, smallest, bad, large, page_bits, states_at;
    const uint8_t *states;
    u64 holes, trimmed, header;
    /* Chunks in tcaches (| OWN: a tcache itself), and in fastbins, upwards: those that are met get MET.  */
    u64 *cached, *fast, cached_left, fast_left, met;
    /* The sizes, by a bit each for 16 bytes, whose fast chunks are told by their links; where these lead.  */
    u64 told, low, high;

    /* Chunks by size in units of 16 bytes; bytes of the free ones that aren't in memory.  */
    u64 used[SIZES], free[SIZES], absent[SIZES], swapped[SIZES], shared[SIZES];
    struct fast looks_fast[FAST_SIZES];
    u64 overlaid_chunks, overlaid_bytes;
    struct links linked, skipped;
    /* Holes: what they hold, and the one that is open.  */
    struct amount in_large, returned, kept, into_top, gained, before;
    u64 whole, hole_first, hole_start, hole_end, hole_fast, hole_cached;
    /* Tails (tails.py).  */
    u64 last, last_size, tail_free, tail_end, island, gap, first, chunks, alike, alike_size, other;
    u64 trail_cleared, trail_length, trail[TRAIL][2];
    u64 bucket, page, page_free, marked, flaws, event_count;
    struct event events[EVENTS];
};

#define M61 (((u64)1 << 61) - 1) /* a prime: sums modulo it, as folds.py has them */

ALWAYS u64 modulo(u128 x)
{
    u64 sum = ((u64)x & M61) + ((u64)(x >> 61) & M61) + (u64)(x >> 122);
    sum = (sum & M61) + (sum >> 61);
    return sum >= M61 ? sum - M61 : sum;
}

ALWAYS u64 product(u64 a, u64 b) { return modulo((u128)a * b); }
ALWAYS u64 less(u64 a, u64 b) { return a >= b ? a - b : a + M61 - b; }
ALWAYS u64 more(u64 a, u64 b) { return less(a, b ? M61 - b : 0); }

ALWAYS void add(struct links *sums, u64 chunk, u64 fd, u64 bk)
{
    sums->chunks += chunk;
    sums->fds += fd;
    sums->bks += bk;
    sums->twist = more(sums->twist, product(chunk, less(product(fd, fd), product(bk, chunk))));
}

ALWAYS void event(struct walk *w, u64 kind, u64 address, u64 size)
{
    w->events[w->event_count++] = (struct event){kind, address, size};
}

/* Return what of [start, end) is in memory.  */
static struct amount amount(const struct walk *w, u64 start, u64 end)
{
    struct amount found = {end - start, 0, 0, 0};
    u64 page = (u64)1 << w->page_bits;
    for (u64 at = start; w->states && at < end;) {
        u64 next = (at & -page) + page, size = (next < end ? next : end) - at;
        uint8_t state = w->states[(at - w->states_at) >> w->page_bits] & ~LOCKED;
        found.resident += state == RESIDENT || state == SHARED ? size : 0;
        found.shared += state == SHARED ? size : 0;
        found.swapped += state == SWAPPED ? size : 0;
        at += size;
    }
    return found;
}

ALWAYS void add_times(struct amount *sum, u64 times, struct amount other)
{
    sum->bytes += times * other.bytes;
    sum->resident += times * other.resident;
    sum->swapped += times * other.swapped;
    sum->shared += times * other.shared;
}

/* Add the bytes of a free chunk that are absent, swapped, and shared.  */
ALWAYS void add_lost(const struct walk *w, u64 chunk, u64 size, u64 *absent, u64 *swapped, u64 *shared)
{
    u64 page = chunk >> w->page_bits, last = (chunk + size - 1) >> w->page_bits;
    if (!w->states || (page == last && w->states[page - (w->states_at >> w->page_bits)] == RESIDENT))
        return;
    struct amount in = amount(w, chunk, chunk + size);
    *absent += size - in.resident;
    *swapped += in.swapped;
    *shared += in.shared;
}

/* What the kernel takes back of whole pages (Trimmer.unmapped).  */
static struct amount unmapped(const struct walk *w, u64 start, u64 end)
{
    struct amount found = amount(w, start, end);
    found.bytes = w->states ? found.resident + found.swapped : found.bytes;
    return found;
}

/* Set the whole pages of [*start, *end) that malloc_trim hands to madvise; return up to where that
   takes them back: to what is locked (Trimmer.whole_pages, Trimmer.advised).  */
static u64 advised(const struct walk *w, u64 *start, u64 *end)
{
    u64 page = (u64)1 << w->page_bits;
    *start = (*start + w->header + page - 1) & -page;
    *end = *start < (*end & -page) ? *end & -page : *start;
    for (u64 at = *start; w->states && at < *end; at += page)
        if (w->states[(at - w->states_at) >> w->page_bits] & LOCKED)
            return at;
    return *end;
}

static void end_hole(struct walk *w, u64 end, u64 top)
{
    u64 start = w->hole_start, fast = w->hole_fast;
    w->hole_fast = 0;
    if (fast && end == top)
        add_times(&w->into_top, 1, amount(w, start, end));
    else if (end - start >= w->trimmed) {
        add_times(&w->in_large, 1, amount(w, start, end));
        u64 cut = advised(w, &start, &end);
        w->whole += end - start;
        add_times(&w->returned, 1, unmapped(w, start, cut));
        add_times(&w->kept, 1, amount(w, cut, end));
    }
}

static void close_hole(struct walk *w, u64 top)
{
    u64 end = w->hole_end, start = end == top ? end : w->hole_first;
    if (end)
        end_hole(w, end, top);
    if (w->hole_cached) {
        add_times(&w->gained, 1, w->before);
        add_times(&w->gained, -1, w->returned);
        u64 cut = end - start >= w->trimmed ? advised(w, &start, &end) : start;
        add_times(&w->gained, 1, unmapped(w, start, cut));
    }
    w->hole_first = w->hole_start = w->hole_end = w->hole_cached = 0;
}

/* Add a free chunk, a fast or a cached one (Holes.add).  */
ALWAYS void add_to_holes(struct walk *w, u64 start, u64 size, u64 fast, u64 cached)
{
    if (start != w->hole_end) {
        close_hole(w, 0);
        w->hole_first = w->hole_start = start;
        w->before = w->returned;
    }
    if (cached)
        end_hole(w, start, 0);
    w->hole_end = start + size;
    w->hole_start = cached ? w->hole_end : w->hole_start;
    w->hole_cached |= cached;
    w->hole_fast |= fast;
}

/* Tell once for each MiB that it has a page of which half is free, or more.  */
ALWAYS void end_page(struct walk *w)
{
    u64 bucket = w->page << w->page_bits >> 20;
    if (w->page_free >> (w->page_bits - 1) && w->marked != bucket + 1) {
        w->marked = bucket + 1;
        event(w, MOSTLY_FREE, bucket << 20, 1 << 20);
    }
}

ALWAYS void add_to_page(struct walk *w, u64 page, u64 size)
{
    if (page != w->page)
        end_page(w);
    w->page_free = size + (page == w->page ? w->page_free : 0);
    w->page = page;
}

ALWAYS void add_to_pages(struct walk *w, u64 start, u64 end)
{
    u64 page = start >> w->page_bits, last = (end - 1) >> w->page_bits;
    add_to_page(w, page, (page == last ? end : (page + 1) << w->page_bits) - start);
    if (page != last)
        add_to_page(w, last, end - (last << w->page_bits));
}

/* Tell whether a list has this chunk: what it is there, with MET; pass what it has before.  */
ALWAYS u64 meet(struct walk *w, u64 **list, u64 *left, u64 chunk)
{
    for (; *left && **list < chunk; ++*list)
        --*left;
    if (!*left || (**list & ~(u64)(OWN | MET)) != chunk)
        return 0;
    w->met++;
    return **list |= MET;
}

/* Tell whether a chunk in use looks fast: its link leads to one, or nowhere (PROTECT_PTR).  */
ALWAYS u64 looks_fast(struct walk *w, u64 chunk, u64 size, u64 stored)
{
    u64 link = stored ^ (chunk + 16) >> 12;
    if (link && (link & 15 || link < w->low || link >= w->high))
        return 0;
    struct fast *sums = &w->looks_fast[size >> 4];
    sums->chunks++;
    sums->ends += !link;
    sums->addresses += chunk;
    sums->links += link;
    sums->squares = more(sums->squares, less(product(chunk, chunk), product(link, link)));
    add_lost(w, chunk, size, &sums->absent, &sums->swapped, &sums->shared);
    return 1;
}

ALWAYS void count(struct walk *w, u64 chunk, u64 size, u64 free)
{
    u64 i = size >> 4;
    if (i >= SIZES)
        event(w, free ? BIG_FREE : BIG_USED, chunk, size);
    else
        (free ? w->free : w->used)[i]++;
    if (i < SIZES && free)
        add_lost(w, chunk, size, &w->absent[i], &w->swapped[i], &w->shared[i]);
}

/* Add how a free chunk is linked, and what is behind it.  */
ALWAYS void add_free(struct walk *w, u64 chunk, u64 size, const u64 *words, u64 foot)
{
    add(&w->linked, chunk, words[FD], words[BK]);
    if (size >= w->large && (words[FD_NEXTSIZE] || words[BK_NEXTSIZE]))
        add(&w->skipped, chunk, words[FD_NEXTSIZE], words[BK_NEXTSIZE]);
    if (foot != size && w->flaws++ < FLAWS)
        event(w, FLAW, chunk, foot);
}

/* Take in the last chunk, whether it counts as free at the end of a heap, and is the program's.  */
ALWAYS void add_to_tails(struct walk *w, u64 chunk, u64 size, u64 free, u64 fast, u64 cached)
{
    if (!w->tail_end) {
        w->tail_free = w->tail_end = w->island = w->gap = chunk;
        w->first = free ? chunk + size : chunk;
    }
    if (cached || !(free || fast)) {
        if (w->tail_free != w->tail_end) {
            w->gap = w->tail_free;
            w->island = w->tail_end;
            w->chunks = 0;
        }
        w->chunks++;
        w->tail_free = chunk + size;
    }
    w->tail_end = chunk + size;
    if (fast || cached) {
        w->trail[w->trail_length][0] = chunk | fast;
        w->trail[w->trail_length++][1] = size;
    } else if (!free) {
        u64 same = -(u64)(size == w->alike_size); /* a mask: a branch would be foreseen seldom */
        w->other = (w->other & same) | ((w->last + w->last_size) & ~same);
        w->alike = (w->alike & same) + 1;
        w->alike_size = w->last_size = size;
        w->last = chunk;
        w->trail_cleared = 1;
        w->trail_length = 0;
    }
}

/* Take in one chunk: `words` are its own, `following` and `foot` size and prev_size behind it.  */
ALWAYS void take(struct walk *w, u64 chunk, u64 size, const u64 *words, u64 following, u64 foot)
{
    if (chunk >> 20 != w->bucket) {
        w->bucket = chunk >> 20;
        event(w, LANDMARK, chunk, 0);
    }
    u64 free = !(following & PREV_INUSE);
    u64 fast = meet(w, &w->fast, &w->fast_left, chunk) && !free;
    u64 cached = meet(w, &w->cached, &w->cached_left, chunk), own = cached & OWN;
    if (!free && !cached && !fast && size < 16 * FAST_SIZES && w->told >> (size >> 4) & 1)
        fast = looks_fast(w, chunk, size, words[FD]);
    cached = cached && !fast && !free;
    w->overlaid_chunks += fast || cached;
    w->overlaid_bytes += fast || cached ? size : 0;
    count(w, chunk, size, free);
    if (free)
        add_free(w, chunk, size, words, foot);
    if (free || fast)
        add_to_pages(w, chunk, chunk + size);
    if (w->holes && (free || fast || (cached && !own)))
        add_to_holes(w, chunk, size, fast, cached && !own);
    add_to_tails(w, chunk, size, free, fast, cached);
}

/* Return whether there is room for what a chunk may tell of.  */
ALWAYS u64 has_room(const struct walk *w)
{
    return w->event_count + MOST_EVENTS < EVENTS && w->trail_length < TRAIL;
}

EXPORT u64 heapx_abi(void) { return 2; }
EXPORT u64 heapx_size(void) { return sizeof(struct walk); }

/* Take in the chunks from `chunk` on, which `words` hold, as far as nothing is unusual: the next
   one must be a chunk, too, whose header is held.  Return where that ends.  */
EXPORT u64 heapx_walk(struct walk *w, const u64 *words, u64 count, u64 chunk)
{
    u64 index = 0, word = count > SIZE ? words[SIZE] : 0;
    if (word < w->smallest || word & w->bad || (word & ~(u64)FLAGS) > w->limit - chunk)
        return chunk;
    for (;;) {
        u64 size = word & ~(u64)FLAGS, end = chunk + size, behind = index + (size >> 3);
        if (behind + SIZE >= count || end == w->limit)
            return chunk;
        u64 following = words[behind + SIZE];
        if (following < w->smallest || following & w->bad ||
            (following & ~(u64)FLAGS) > w->limit - end || !has_room(w))
            return chunk;
        take(w, chunk, size, words + index, following, words[behind + PREV_SIZE]);
        word = following;
        index = behind;
        chunk = end;
    }
}

/* Take in the chunks of a run that was settled: up to `end`, where `following` and `foot` are size
   and prev_size.  Return where that ends: before, if events must be taken out first.  */
EXPORT u64 heapx_run(struct walk *w, const u64 *words, u64 count, u64 chunk, u64 end,
                     u64 following, u64 foot)
{
    u64 index = 0;
    while (chunk < end && index + SIZE < count) {
        u64 size = words[index + SIZE] & ~(u64)FLAGS, behind = index + (size >> 3);
        u64 is_last = chunk + size == end, is_large = size >= w->large;
        if (size < w->smallest || size > end - chunk || (!is_last && behind + SIZE >= count))
            break;
        u64 next = is_last ? following : words[behind + SIZE];
        u64 held = next & PREV_INUSE ? (w->told ? FD : SIZE) + 1 : is_large ? BK_NEXTSIZE + 1 : BK + 1;
        if (index + held > count || !has_room(w))
            break;
        take(w, chunk, size, words + index, next, is_last ? foot : words[behind + PREV_SIZE]);
        index = behind;
        chunk += size;
    }
    return chunk;
}

/* End the heap's last hole, before `top`, and its last page.  */
EXPORT void heapx_close(struct walk *w, u64 top)
{
    close_hole(w, top);
    end_page(w);
}
