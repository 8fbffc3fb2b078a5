/* Which holder each chunk in use is held by, who refers to a chunk, and the shortest way there: labels.py, referrers.py
   and ways.py are the definition.  */

#include "reach.h"

/* A label, 32 bits by rank: 0 for none, a holder's number, or that there are several; and whether the chunk must
   still be looked through.  */
#define SEVERAL 0x7fffffffu
#define PENDING 0x80000000u

/* A flood that gives labels: from holder `own`, of those from `first` on, which may be one and the same (`met` counts
   the words that lead from it to what another of these holds).  `touches` has a byte by holder: whether it reaches
   what several do.  With `epoch` it gives no labels but counts what of the chunks that are held by several is
   reached; `seen` has by rank the epoch of which it was.  `stack` has chunks that are to be looked through; what
   finds no room there is PENDING.  Counting ends where more than `most` chunks are `reached`.  */
struct labels {
    u64 own, first, met, epoch, most, reached, room, depth, pending, chunks, bytes, several;
    u64 *stack;
    uint32_t *labels, *seen;
    uint8_t *touches;
};

ALWAYS void put(struct labels *x, uint32_t *word, uint32_t value, const struct found *to)
{
    uint32_t waits = *word & PENDING;
    *word = value | waits;
    if (waits)
        return;
    if (x->depth < x->room)
        x->stack[x->depth++] = to->chunk + HEADER;
    else {
        *word |= PENDING;
        x->pending++;
    }
}

ALWAYS void label(const struct held *h, void *given, const struct found *to)
{
    struct labels *x = given;
    (void)h;
    uint32_t *word = x->labels + to->rank, before = *word & ~PENDING;
    if (x->several) {
        if (before == SEVERAL)
            return;
        if (before)
            x->touches[before] = 1;
        put(x, word, SEVERAL, to);
    } else if (!before)
        put(x, word, (uint32_t)x->own, to);
    else if (before >= x->first && before <= x->own)
        x->met += before != x->own;
    else {
        x->touches[x->own] = 1;
        if (before != SEVERAL) {
            x->touches[before] = 1;
            put(x, word, SEVERAL, to);
        }
    }
}

ALWAYS void count(const struct held *h, void *given, const struct found *to)
{
    struct labels *x = given;
    (void)h;
    uint32_t *word = x->seen + to->rank;
    if ((*word & ~PENDING) == x->epoch)
        return;
    x->reached++;
    if ((x->labels[to->rank] & ~PENDING) == SEVERAL) {
        x->chunks++;
        x->bytes += bytes_of(to->region, to->chunk);
    }
    put(x, word, (uint32_t)x->epoch, to);
}

/* Look through chunks of the stack until it is empty, or so many steps are done.  */
EXPORT void heapx_label(const struct held *h, struct labels *x, u64 steps)
{
    for (struct found chunk; x->depth && steps; steps--) {
        if (!find(h, x->stack[--x->depth], 1, &chunk))
            continue;
        if (x->epoch) {
            follow_all(h, x, &chunk, count);
            if (x->reached > x->most)
                x->depth = x->pending = 0;
        } else {
            x->several = (x->labels[chunk.rank] & ~PENDING) == SEVERAL;
            follow_all(h, x, &chunk, label);
        }
    }
}

/* Take in words that lie outside of all chunks.  */
EXPORT void heapx_label_from(const struct held *h, struct labels *x, const u64 *words, u64 number)
{
    x->several = 0;
    for (u64 i = 0; i < number; i++)
        if (x->epoch)
            follow(h, x, words[i], 0, count);
        else
            follow(h, x, words[i], 0, label);
}

/* Go on from a cursor: put chunks that are PENDING onto the stack, as many as there is room for.  Return whether that
   was all.  */
EXPORT u64 heapx_label_pending(const struct held *h, struct labels *x, struct cursor *at)
{
    uint32_t *words = x->epoch ? x->seen : x->labels;
    for (struct found chunk; x->depth < x->room;) {
        if (!next(h, at, &chunk))
            return 1;
        if (words[chunk.rank] & PENDING) {
            words[chunk.rank] &= ~PENDING;
            x->pending--;
            x->stack[x->depth++] = chunk.chunk + HEADER;
        }
    }
    return 0;
}

/* What is added up: by label chunks and bytes; and for the labels that have a `row`, by kind bytes; the labels of
   SEVERAL are the last one.  */
struct totals {
    struct { u64 chunks, bytes; } *sums;
    u64 last;
    const uint32_t *labels, *rows, *kinds;
    u64 *bytes, number;
};

/* Go on from a cursor, for so many chunks.  Return whether that was all.  */
EXPORT u64 heapx_total(const struct held *h, struct totals *x, struct cursor *at, u64 steps)
{
    for (struct found chunk; steps; steps--) {
        if (!next(h, at, &chunk))
            return 1;
        u64 own = x->labels[chunk.rank] == SEVERAL ? x->last : x->labels[chunk.rank];
        u64 size = bytes_of(chunk.region, chunk.chunk);
        x->sums[own].chunks++;
        x->sums[own].bytes += size;
        if (x->rows && x->rows[own])
            x->bytes[(x->rows[own] - 1) * x->number + x->kinds[chunk.rank]] += size;
    }
    return 0;
}

/* Words that lead into [low, high) are looked for, where that goes on: at a cursor, from an address in the chunk
   before it, 0 where it begins.  */
struct search { struct cursor at; u64 region, chunk, from, low, high, room, count, *found; };

/* Find such words of chunks in use, in so many chunks.  Return whether that was all; else it goes on, where there is
   no more room once that was made.  */
EXPORT u64 heapx_refs(const struct held *h, struct search *x, u64 steps)
{
    u64 span = x->high - x->low;
    for (struct found chunk; steps; steps--) {
        if (!x->from) {
            if (!next(h, &x->at, &chunk))
                return 1;
            x->region = (u64)(chunk.region - h->regions);
            x->chunk = chunk.chunk;
            x->from = chunk.chunk + HEADER;
        }
        const struct region *r = h->regions + x->region;
        u64 at = x->from, end = memory_end(r, x->chunk) & -(u64)WORD;
        u64 links = x->chunk + HEADER + LINKS * WORD;
        while (r->copy && at < end)
            for (u64 stop = at_hand(h, r, &at, end); at < stop; at += WORD) {
                u64 word = word_at(r, at);
                struct found to;
                if (word - x->low >= span || (at < links && find(h, word, 1, &to) && leads_behind(&to, word)))
                    continue;
                if (x->count == x->room) {
                    x->from = at;
                    return 0;
                }
                x->found[x->count++] = at;
            }
        x->from = 0;
    }
    return 0;
}

/* The shortest way from roots to the chunk of rank `goal`: a queue with room for all chunks, of which those before
   `head` were looked through; and by rank from where each was reached first: 0 from nowhere, 1 from a root, else the
   rank of that chunk, and 2.  */
struct ways { u64 head, tail, goal, from; u64 *queue; uint32_t *before; };

ALWAYS void step_to(const struct held *h, void *given, const struct found *to)
{
    struct ways *x = given;
    (void)h;
    if (x->before[to->rank])
        return;
    x->before[to->rank] = (uint32_t)x->from;
    x->queue[x->tail++] = to->chunk + HEADER;
}

/* Take in words of roots.  */
EXPORT void heapx_way_from(const struct held *h, struct ways *x, const u64 *words, u64 number)
{
    x->from = 1;
    for (u64 i = 0; i < number; i++)
        follow(h, x, words[i], 0, step_to);
}

/* Look through so many chunks.  Return whether that was all, or the goal is reached.  */
EXPORT u64 heapx_way(const struct held *h, struct ways *x, u64 steps)
{
    for (struct found chunk; steps && !x->before[x->goal]; steps--) {
        if (x->head == x->tail)
            return 1;
        if (!find(h, x->queue[x->head++], 1, &chunk))
            continue;
        x->from = chunk.rank + 2;
        follow_all(h, x, &chunk, step_to);
    }
    return x->before[x->goal] != 0;
}
