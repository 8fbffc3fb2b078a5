/* The walk over the chunks of a heap, compiled, for 64-bit little-endian targets: what scan.py and the folds
   of tally.py do, and what lists.py does of chunks in a table.  declared.py has its structs for ctypes.  It is
   freestanding and needs no symbol of any library, so one binary per architecture runs under every libc and
   every Python.  No word of the process is trusted: each read of `words` is within `count`, each of `states`
   within the heap, each of a table within what was kept.  */

#include <stdint.h>

typedef uint64_t u64;
#define EXPORT __attribute__((visibility("default")))
#define ALWAYS static inline __attribute__((always_inline))

enum { SIZES = 4096, FAST_SIZES = 64, EVENTS = 512, TRAIL = 512, MOST_EVENTS = 6, FLAWS = 8, FENCE = 16 };
enum { PREV_INUSE = 1, FLAGS = 7, OWN = 1, MET = 2, AHEAD = 256 /* words that memory is asked for before */ };
#define LARGEST ((u64)1 << 47) /* bytes that no chunk has more of */
enum { PREV_SIZE, SIZE, FD, BK, FD_NEXTSIZE, BK_NEXTSIZE };          /* the words of a malloc_chunk */
enum { RESIDENT = 1, SWAPPED = 2, SHARED = 4, STATES = 8, LOCKED = 0x80 }; /* a page's (pages.py) */
enum { LANDMARK, BIG_USED, BIG_FREE, FLAW, MOSTLY_FREE };            /* what an event is */

struct amount { u64 bytes, resident, swapped, shared; };
struct event { u64 kind, address, size; };

/* The chunks of one size that look fast, added up (Looks of fast.py).  */
struct fast { u64 chunks, ends, addresses, links, squares, absent, swapped, shared; };

#include "cells.h"
#include "sums.h"
#include "table.h"

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
    /* Where to keep all free chunks, and those of each other size that look fast; null if nowhere.  */
    struct table *tables[FAST_SIZES];
    struct cells cells;

    /* Chunks by size in units of 16 bytes; bytes of the free ones that aren't in memory.  */
    u64 used[SIZES], free[SIZES], absent[SIZES], swapped[SIZES], shared[SIZES];
    struct fast looks_fast[FAST_SIZES];
    struct links linked, skipped;
    /* Holes: what they hold, and the one that is open.  */
    struct amount in_large, returned, kept, into_top, gained, before;
    u64 whole, largest, hole_first, hole_start, hole_end, hole_fast, hole_cached;
    u64 last, last_size, tail_free, tail_end, island, gap, first, chunks, alike, alike_size, other;
    u64 trail_cleared, trail_length, trail[TRAIL][2]; /* this, and what is above: tails.py */
    u64 overlaid_chunks, overlaid_bytes, bucket, page, page_free, marked, flaws, event_count;
    struct event events[EVENTS];
};

ALWAYS void event(struct walk *w, struct event e) { w->events[w->event_count++] = e; }

/* Return what of [start, end) is in memory.  */
static struct amount amount(const struct walk *w, u64 start, u64 end)
{
    u64 in[STATES] = {0}, page = (u64)1 << w->page_bits;
    for (u64 at = start, next; w->states && at < end; at = next) {
        next = end - at < page - at % page ? end : (at & -page) + page;
        in[w->states[(at - w->states_at) >> w->page_bits] % STATES] += next - at;
    }
    return (struct amount){end - start, in[RESIDENT] + in[SHARED], in[SWAPPED], in[SHARED]};
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

/* Set the whole pages of [*start, *end) that malloc_trim hands to madvise; return what goes of them: what
   is there, up to what is locked, at *cut (Trimmer.whole_pages, Trimmer.advised, Trimmer.unmapped).  */
static struct amount returned(const struct walk *w, u64 *start, u64 *end, u64 *cut)
{
    u64 page = (u64)1 << w->page_bits;
    *start = (*start + w->header + page - 1) & -page;
    *end = *start < (*end & -page) ? *end & -page : *start;
    *cut = w->states ? *start : *end;
    while (*cut < *end && !(w->states[(*cut - w->states_at) >> w->page_bits] & LOCKED))
        *cut += page;
    struct amount found = amount(w, *start, *cut);
    found.bytes = w->states ? found.resident + found.swapped : found.bytes;
    return found;
}

static void end_hole(struct walk *w, u64 end, u64 top)
{
    u64 start = w->hole_start, fast = w->hole_fast, cut;
    w->hole_fast = 0;
    if (fast && end == top)
        add_times(&w->into_top, 1, amount(w, start, end));
    else if (w->largest = end - start > w->largest ? end - start : w->largest, end - start >= w->trimmed) {
        add_times(&w->in_large, 1, amount(w, start, end));
        add_times(&w->returned, 1, returned(w, &start, &end, &cut));
        w->whole += end - start;
        add_times(&w->kept, 1, amount(w, cut, end));
    }
}

static void close_hole(struct walk *w, u64 top)
{
    u64 end = w->hole_end, start = end == top ? end : w->hole_first, cut;
    if (end)
        end_hole(w, end, top);
    if (w->hole_cached) {
        add_times(&w->gained, 1, w->before);
        add_times(&w->gained, -1, w->returned);
        if (end - start >= w->trimmed)
            add_times(&w->gained, 1, returned(w, &start, &end, &cut));
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

/* Add free bytes of a page.  Tell once for each MiB that it has a page of which half is free, or more.  */
ALWAYS void add_to_page(struct walk *w, u64 page, u64 size)
{
    u64 bucket = w->page << w->page_bits >> 20;
    if (page != w->page && w->page_free >> (w->page_bits - 1) && w->marked != bucket + 1) {
        w->marked = bucket + 1;
        event(w, (struct event){MOSTLY_FREE, bucket << 20, 1 << 20});
    }
    w->page_free = size + (page == w->page ? w->page_free : 0);
    w->page = page;
}

ALWAYS void add_to_pages(struct walk *w, u64 start, u64 end)
{
    u64 page = start >> w->page_bits, last = (end - 1) >> w->page_bits;
    add_to_page(w, page, (page == last ? end : (page + 1) << w->page_bits) - start);
    add_to_page(w, last, page == last ? 0 : end - (last << w->page_bits));
}

/* Return the state of the page that cells are at; 0 if unknown.  */
ALWAYS u64 state_at(const struct walk *w)
{
    return w->states ? w->states[w->cells.page - (w->states_at >> w->page_bits)] % STATES : 0;
}

/* Add a chunk to cells, page by page.  */
ALWAYS void add_to_cells(struct walk *w, u64 chunk, u64 size, u64 fill)
{
    struct cells *c = &w->cells;
    for (u64 end = chunk + size, next; c->amounts && chunk < end; chunk = next) {
        u64 page = chunk >> w->page_bits, behind = (page + 1) << w->page_bits;
        next = end < behind ? end : behind;
        if (page != c->page && c->page)
            end_page(c, w->page_bits, state_at(w));
        c->page = page;
        c->filled[fill] += next - chunk;
    }
}

/* Tell whether a list has this chunk: what it is there, with MET; pass what it has before.  */
ALWAYS u64 meet(struct walk *w, u64 **list, u64 *left, u64 chunk)
{
    for (; *left && **list < chunk; ++*list)
        --*left;
    if (!*left || **list - chunk > (OWN | MET))
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
    keep(w->tables[size >> 4], chunk, size, link, 0);
    return 1;
}

ALWAYS void count_chunk(struct walk *w, u64 chunk, u64 size, u64 free)
{
    u64 i = size >> 4;
    if (i >= SIZES)
        event(w, (struct event){free ? BIG_FREE : BIG_USED, chunk, size});
    else
        (free ? w->free : w->used)[i]++;
    if (i < SIZES && free)
        add_lost(w, chunk, size, &w->absent[i], &w->swapped[i], &w->shared[i]);
}

ALWAYS void add_free(struct walk *w, u64 chunk, u64 size, const u64 *words, u64 foot)
{
    add(&w->linked, chunk, words[FD], words[BK]);
    if (size >= w->large && (words[FD_NEXTSIZE] || words[BK_NEXTSIZE]))
        add(&w->skipped, chunk, words[FD_NEXTSIZE], words[BK_NEXTSIZE]);
    if (foot != size && w->flaws++ < FLAWS)
        event(w, (struct event){FLAW, chunk, foot});
    keep(w->tables[0], chunk, size, words[FD], words[BK]);
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

/* Take in one chunk, where there is room for what it tells; `following` and `foot` are what is behind.  */
ALWAYS u64 take(struct walk *w, u64 chunk, u64 size, const u64 *words, u64 following, u64 foot)
{
    if (w->event_count + MOST_EVENTS >= EVENTS || w->trail_length >= TRAIL)
        return 0;
    if (chunk >> 20 != w->bucket)
        event(w, (struct event){LANDMARK, chunk, 0});
    w->bucket = chunk >> 20;
    u64 free = !(following & PREV_INUSE), fast = meet(w, &w->fast, &w->fast_left, chunk) && !free;
    u64 cached = meet(w, &w->cached, &w->cached_left, chunk), own = cached & OWN;
    if (!free && !cached && !fast && size < 16 * FAST_SIZES && w->told >> (size >> 4) & 1)
        fast = looks_fast(w, chunk, size, words[FD]);
    cached = cached && !fast && !free;
    w->overlaid_chunks += fast || cached;
    w->overlaid_bytes += fast || cached ? size : 0;
    count_chunk(w, chunk, size, free);
    if (free)
        add_free(w, chunk, size, words, foot);
    if (free || fast)
        add_to_pages(w, chunk, chunk + size);
    if (w->holes && (free || fast || (cached && !own)))
        add_to_holes(w, chunk, size, fast, cached && !own);
    add_to_cells(w, chunk, size, own && cached ? OVERHEAD : cached ? TCACHE : fast ? FAST : free ? BINNED : IN_USE);
    add_to_tails(w, chunk, size, free, fast, cached);
    return 1;
}

EXPORT u64 heapx_abi(void) { return 11; }
EXPORT u64 heapx_size(void) { return sizeof(struct walk); }
EXPORT uint32_t heapx_placed(const struct table *t, u64 address) { return placed(t, address); }

ALWAYS u64 is_size(const struct walk *w, u64 word, u64 room)
{
    return word >= w->smallest && !(word & w->bad) && (word & ~(u64)FLAGS) <= room;
}

/* Take in the heap's last chunk, if it is the first one in `words`, and these hold what is behind it: anything may
   lie there (Scanner._settle).  Return its end; where it begins if it is none.  */
static u64 take_last(struct walk *w, const u64 *words, u64 count, u64 chunk)
{
    u64 word = count > SIZE ? words[SIZE] : 0, size = word & ~(u64)FLAGS, behind = size >> 3;
    if (!is_size(w, word, w->limit - chunk) || chunk + size != w->limit || behind + SIZE >= count)
        return chunk;
    u64 following = words[behind + SIZE] & ~(u64)FLAGS, none = following < FENCE || following > LARGEST;
    u64 foot = none ? size : words[behind + PREV_SIZE];
    return take(w, chunk, size, words, words[behind + SIZE], foot) ? w->limit : chunk;
}

/* Take in the chunks from `chunk` on, which `words` hold, as far as nothing is unusual: the next one must be
   a chunk, too, whose header is held.  Return where that ends.  */
EXPORT u64 heapx_walk(struct walk *w, const u64 *words, u64 count, u64 chunk)
{
    u64 index = 0, word = count > SIZE ? words[SIZE] : 0, first = chunk;
    for (u64 good = is_size(w, word, w->limit - chunk); good;) {
        u64 size = word & ~(u64)FLAGS, behind = index + (size >> 3);
        if (behind + SIZE >= count || chunk + size == w->limit)
            break;
        __builtin_prefetch(words + behind + AHEAD);
        word = words[behind + SIZE];
        good = is_size(w, word, w->limit - chunk - size) &&
               take(w, chunk, size, words + index, word, words[behind + PREV_SIZE]);
        index = behind;
        chunk += good ? size : 0;
    }
    u64 at = (chunk - first) >> 3;
    return take_last(w, words + at, count - at, chunk);
}

/* Take in the chunks of a run that was settled: up to `end`, where `following` and `foot` are size
   and prev_size.  Return where that ends: before, if events must be taken out first.  */
EXPORT u64 heapx_run(struct walk *w, const u64 *words, u64 count, u64 chunk, u64 end, u64 following, u64 foot)
{
    for (u64 index = 0, behind; chunk < end && index + SIZE < count; index = behind) {
        u64 size = words[index + SIZE] & ~(u64)FLAGS;
        behind = index + (size >> 3);
        u64 is_last = chunk + size == end, is_large = size >= w->large;
        if (size < w->smallest || size > end - chunk || (!is_last && behind + SIZE >= count))
            break;
        u64 next = is_last ? following : words[behind + SIZE];
        u64 held = next & PREV_INUSE ? (w->told ? FD : SIZE) + 1 : is_large ? BK_NEXTSIZE + 1 : BK + 1;
        u64 before = is_last ? foot : words[behind + PREV_SIZE];
        if (index + held > count || !take(w, chunk, size, words + index, next, before))
            break;
        chunk += size;
    }
    return chunk;
}

/* End the heap's last hole, before `top`, and its last page.  */
EXPORT void heapx_close(struct walk *w, u64 top)
{
    close_hole(w, top);
    add_to_page(w, 0, 0);
}

/* Return how many sizes there are up to the largest one of the tables that was met.  */
EXPORT u64 heapx_sizes(const struct walk *w)
{
    u64 most = SIZES;
    while (most && !(w->used[most - 1] | w->free[most - 1]))
        most--;
    return most;
}

/* Let cells have what was taken in last: wherever the walk ended.  */
EXPORT void heapx_end_cells(struct walk *w)
{
    if (w->cells.amounts && w->cells.page)
        end_page(&w->cells, w->page_bits, state_at(w));
}

/* Join a list, `steps` chunks at most: from both ends in turn where it is linked both ways, so that one read
   of memory doesn't wait for the other.  Mark what hangs in one that isn't.  Return whether all is joined
   (1); or a link leads to no chunk of the table, or to one that doesn't lead back (2); or there is more (0).  */
EXPORT u64 heapx_join(struct walk *w, struct table *t, u64 steps)
{
    u64 side = 0, both = t->width > 2;
    for (; t->at[side] != t->behind[!side]; side ^= both) {
        uint32_t at = t->at[side], *row = row_of(t, at);
        if (!steps-- || w->event_count == EVENTS)
            return 0;
        if (!row || (both && row[BACK - side] != t->behind[side]))
            return 2;
        w->linked.chunks += t->base + (u64)16 * at;
        count_chunk(w, t->base + (u64)16 * at, both ? (u64)16 * row[UNITS] : t->size, 1);
        t->behind[side] = at;
        t->at[side] = row[NEXT + side];
        row[NEXT] = both ? row[NEXT] : UINT32_MAX;
    }
    return both && t->at[!side] != t->behind[side] ? 2 : 1;
}
