/* What is in use of a heap, indexed: index.py is the definition.  */

#include "held.h"
#include "hidden.h"

enum { AHEAD = 2048 }; /* bytes that memory is asked for before they are looked at */
enum { SPANS = 512, SEEDED = 0x10 };

/* How an index is made.  Given are the chunks in tcaches, and in fastbins, upwards, those that are told by their
   links (told.py): their sizes, a bit each for 16 bytes, and where their links lead; the page's bits; and how many
   bytes a span has at `least`.  Found are how many chunks are in use, their bytes, and spans of whole pages without
   any, as many as there is room for.  */
struct indexing {
    const u64 *cached, *fast;
    u64 cached_left, fast_left, told, low, high, page_bits, least, chunks, bytes, count, spans[SPANS][2];
};

ALWAYS u64 meet(const u64 **list, u64 *left, u64 chunk)
{
    for (; *left && **list < chunk; ++*list)
        --*left;
    return *left && **list == chunk;
}

ALWAYS u64 looks_fast(const struct indexing *x, u64 chunk, u64 size, u64 stored)
{
    u64 link = stored ^ (chunk + HEADER) >> 12;
    return size < GRAIN * CELL && x->told >> (size / GRAIN) & 1 &&
           (!link || (!(link & 15) && link >= x->low && link < x->high));
}

ALWAYS void set(struct region *r, u64 chunk, u64 size)
{
    u64 first = (chunk - r->start) / GRAIN, last = first + size / GRAIN - 1;
    r->cells[first / CELL].starts |= (u64)1 << first % CELL;
    r->cells[last / CELL].ends |= (u64)1 << last % CELL;
}

/* Keep the whole pages of a chunk that isn't in use, but for its first word: that is the last one of the chunk
   before.  */
ALWAYS void keep_span(struct indexing *x, u64 chunk, u64 size)
{
    u64 page = (u64)1 << x->page_bits, start = (chunk + HEADER + page - 1) & -page, end = (chunk + size) & -page;
    if (start >= end || end - start < x->least)
        return;
    x->spans[x->count][0] = start;
    x->spans[x->count++][1] = end;
}

/* Index the chunks of a region from `chunk` up to `stop`, whose header is what no chunk of it has; as far as
   the headers lie before `limit`, up to where the copy was filled.  Return where that ends.  */
EXPORT u64 heapx_index(struct region *r, struct indexing *x, u64 chunk, u64 stop, u64 limit)
{
    while (chunk < stop && chunk + 2 * HEADER <= limit && x->count < SPANS) {
        __builtin_prefetch(r->copy + (chunk - r->start) + AHEAD);
        u64 size = word_at(r, chunk + 8) & ~(u64)FLAGS, end = chunk + size;
        if (size < 2 * GRAIN || size % GRAIN || size > stop - chunk || end + HEADER > limit)
            break;
        u64 used = word_at(r, end + 8) & PREV_INUSE;
        used = !meet(&x->fast, &x->fast_left, chunk) && used;
        used = !meet(&x->cached, &x->cached_left, chunk) && used;
        if (used && !looks_fast(x, chunk, size, word_at(r, chunk + HEADER))) {
            set(r, chunk, size);
            x->chunks++;
            x->bytes += size;
        } else
            keep_span(x, chunk, size);
        chunk = end;
    }
    return chunk;
}

/* Complete the cells of a region, once all its chunks are in.  */
EXPORT void heapx_ranks(struct region *r)
{
    u64 rank = 0, open = NOWHERE, grains = grains_of(r);
    for (u64 at = 0; at * CELL < grains; at++) {
        struct cell *c = r->cells + at;
        c->rank = (uint32_t)rank;
        c->back = open == NOWHERE ? 0 : (uint32_t)(at * CELL - open);
        rank += ones(c->starts);
        u64 last = c->starts ? highest(c->starts) : 0;
        if (c->starts)
            open = c->ends >> last ? NOWHERE : at * CELL + last;
        else if (c->ends)
            open = NOWHERE;
    }
}

/* Find the chunk in use that has an address: its header, rank, region, and whether its memory begins there.  */
EXPORT u64 heapx_find(const struct held *h, u64 address, u64 *found)
{
    struct found f;
    if (!find(h, address, 1, &f))
        return 0;
    found[0] = f.chunk;
    found[1] = f.rank;
    found[2] = (u64)(f.region - h->regions);
    found[3] = f.begins;
    return 1;
}

/* Find the words that lead to chunks in use among `count` words, which lie at an address: where each lies, and
   where it leads.  Return how many words were looked at: all, or as many as there is `room` for what is found.  */
EXPORT u64 heapx_pointers(const struct held *h, const u64 *words, u64 count, u64 address, u64 (*found)[2], u64 *room)
{
    u64 index = 0, left = *room;
    for (struct found f; index < count && left; index++)
        if (words[index] - h->low < h->high - h->low && find(h, words[index], 1, &f)) {
            found[*room - left][0] = address + 8 * index;
            found[*room - left--][1] = words[index];
        }
    *room = left;
    return index;
}

/* Tell whether words begin like a container's: spots.py is the definition.  */
ALWAYS u64 measures(const struct held *h, const uint8_t *blocks, const u64 *words)
{
    u64 first = words[0], second = words[1], third = words[2], ordered = first <= second && second <= third, calls;
    struct body b;
    if (first - h->low >= h->high - h->low)
        return 0;
    calls = may_call(blocks, words);
    if (!((second < third ? second : third) < LARGEST || ordered || calls) || !begins(h, first, &b))
        return 0;
    return calls || (second <= third && third < LARGEST && fills(h, &b, third + 1)) || (ordered && fills(h, &b, third - first)) ||
           (second < LARGEST && (!third || third - h->low < h->high - h->low) && fills(h, &b, 8 * second));
}

/* Find the spots among words: the places of those that begin like a container's, of those from `at` up to `end`.
   Return how far that came: to the end, or as far as there is `room` for what is found.  */
EXPORT u64 heapx_spots(
    const struct held *h, const uint8_t *blocks, const u64 *words, u64 at, u64 end, u64 *found, u64 *room)
{
    for (; at < end && *room; at++)
        if (measures(h, blocks, words + at)) {
            *found++ = at;
            --*room;
        }
    return at;
}

/* Mark the chunks in use that some bytes lead to in a way: SEEDED, by rank.  */
EXPORT void heapx_seed(const struct held *h, const struct way *way, const uint8_t *from, u64 size, uint8_t *seeds)
{
    struct hidden x = {way, from, size, 0, 0, size, 0};
    for (struct found f; find_hidden(h, &x);)
        if (find(h, x.word, 1, &f))
            seeds[f.rank] = SEEDED;
}
