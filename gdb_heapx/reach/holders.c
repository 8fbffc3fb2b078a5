/* Which holder each chunk in use is held by, who refers to a chunk, and the shortest way there: labels.py, referrers.py
   and ways.py are the definition.  */

#include "reach.h"

/* A label, 32 bits by rank: 0 for none, a holder's number, or that there are several; and whether the chunk must
   still be looked through.  */
#define SEVERAL 0x7fffffffu
#define PENDING 0x80000000u
enum { WIDTH = 2 };

/* A flood that gives labels: from holder `own`, of those from `first` on, which may be one and the same (`met` counts
   the words that lead from it to what another of these holds).  `touches` has a byte by holder: whether it reaches
   what several do.  With `epoch` it gives no labels but counts what of the chunks that are held by several is
   reached; `seen` has by rank the epoch of which it was.  `stack` has chunks that are to be looked through; what
   finds no room there, or has no copy at hand, is PENDING.  Counting ends where more than `most` chunks are `reached`.  */
struct labels {
    u64 own, first, met, epoch, most, reached, room, depth, pending, chunks, bytes;
    u64 *stack;
    uint32_t *labels, *seen;
    uint8_t *touches;
    struct ahead ahead;
};

ALWAYS void put(struct labels *x, uint32_t *word, uint32_t value, const struct found *to)
{
    uint32_t waits = *word & PENDING;
    *word = value | waits;
    if (waits)
        return;
    if (to->region->copy && x->depth < x->room)
        x->stack[x->depth++] = to->chunk + HEADER;
    else {
        *word |= PENDING;
        x->pending++;
    }
}

/* Label a chunk that a word of `own` leads to, or of a chunk that `several` reach.  */
ALWAYS void label(void *given, const struct found *to, u64 several)
{
    struct labels *x = given;
    uint32_t *word = x->labels + to->rank, before = *word & ~PENDING;
    if (!before && !several)
        put(x, word, (uint32_t)x->own, to);
    else if (!several && before >= x->first && before <= x->own)
        x->met += before != x->own;
    else {
        if (!several)
            x->touches[x->own] = 1;
        if (before != SEVERAL) {
            x->touches[before] = 1; /* 0 is nobody */
            put(x, word, SEVERAL, to);
        }
    }
}

ALWAYS void count(void *given, const struct found *to, u64 note)
{
    struct labels *x = given;
    (void)note;
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

ALWAYS void settle_labels(const struct held *h, struct labels *x)
{
    if (x->epoch)
        settle(h, x, &x->ahead, count);
    else
        settle(h, x, &x->ahead, label);
}

ALWAYS void look_through(const struct held *h, struct labels *x, u64 address)
{
    struct found chunk;
    if (!find(h, address, 1, &chunk))
        return;
    if (x->epoch)
        follow_all(h, x, &x->ahead, &chunk, 0, count);
    else
        follow_all(h, x, &x->ahead, &chunk, (x->labels[chunk.rank] & ~PENDING) == SEVERAL, label);
}

/* Look through chunks of the stack until it is empty, or so many steps are done.  */
EXPORT void heapx_label(const struct held *h, struct labels *x, u64 steps)
{
    u64 addresses[AHEAD];
    for (u64 number = 1; number && steps; steps--) {
        for (number = 0; number < AHEAD && x->depth; number++)
            fetch(h, addresses[number] = x->stack[--x->depth]);
        for (u64 i = 0; i < number; i++)
            look_through(h, x, addresses[i]);
        if (!x->depth)
            settle_labels(h, x);
        if (x->reached > x->most && x->epoch)
            x->depth = x->pending = 0;
    }
    settle_labels(h, x);
}

/* Take in words that lie outside of all chunks.  */
EXPORT void heapx_label_from(const struct held *h, struct labels *x, const u64 *words, u64 number)
{
    x->ahead.marks = (const uint8_t *)(x->epoch ? x->seen : x->labels);
    x->ahead.width = WIDTH;
    for (u64 i = 0; i < number; i++)
        if (x->epoch)
            follow(h, x, &x->ahead, words[i], 0, count);
        else
            follow(h, x, &x->ahead, words[i], 0, label);
    settle_labels(h, x);
}

/* Go on from a cursor: put chunks that are PENDING onto the stack, as many as there is room for.  Return whether that
   was all.  */
EXPORT u64 heapx_label_pending(const struct held *h, struct labels *x, struct cursor *at)
{
    uint32_t *words = x->epoch ? x->seen : x->labels;
    for (struct found chunk; x->depth < x->room;) {
        if (!next(h, at, &chunk))
            return 1;
        if (words[chunk.rank] & PENDING && chunk.region->copy) {
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
struct ways { u64 head, tail, goal; u64 *queue; uint32_t *before; struct ahead ahead; };

ALWAYS void step_to(void *given, const struct found *to, u64 from)
{
    struct ways *x = given;
    if (x->before[to->rank])
        return;
    x->before[to->rank] = (uint32_t)from;
    x->queue[x->tail++] = to->chunk + HEADER;
}

/* Take in words of roots.  */
EXPORT void heapx_way_from(const struct held *h, struct ways *x, const u64 *words, u64 number)
{
    x->ahead.marks = (const uint8_t *)x->before;
    x->ahead.width = WIDTH;
    for (u64 i = 0; i < number; i++)
        follow(h, x, &x->ahead, words[i], 1 << 1, step_to);
    settle(h, x, &x->ahead, step_to);
}

/* Look through so many chunks.  Return whether that was all, or the goal is reached.  */
EXPORT u64 heapx_way(const struct held *h, struct ways *x, u64 steps)
{
    for (struct found chunk; steps && !x->before[x->goal]; steps--) {
        if (x->head == x->tail)
            settle(h, x, &x->ahead, step_to);
        if (x->head == x->tail)
            return 1;
        if (x->tail - x->head > AHEAD)
            fetch(h, x->queue[x->head + AHEAD]);
        if (find(h, x->queue[x->head++], 1, &chunk))
            follow_all(h, x, &x->ahead, &chunk, chunk.rank + 2, step_to);
    }
    return x->before[x->goal] != 0;
}
