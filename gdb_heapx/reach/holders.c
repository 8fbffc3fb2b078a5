/* Which holder each chunk in use is held by, who refers to a chunk, and the shortest way there: labels.py, referrers.py
   and ways.py are the definition.  */

#include "reach.h"

/* From where a chunk is reached by the fewest pointers: what was noted of that, 0 where nothing reaches it, and how
   far that is: from the roots of which turn, and by how many pointers, with WAITS where it must still be looked
   through.  */
struct reached { uint32_t from, far; };
#define WAITS 0x80000000u
#define DEEPEST 0x0fffffffu /* as far as that is counted; above it the turn */
enum { REACHED_WIDTH = 3 };

/* A label, 32 bits by rank: 0 for none, a holder's number, or that there are several; and whether the chunk must
   still be looked through.  */
#define SEVERAL 0x7fffffffu
#define PENDING 0x80000000u
enum { WIDTH = 2 };

/* A flood that gives labels: from holder `own`, of those from `first` on, which may be one and the same (`met` counts
   the words that lead from it to what another of these holds).  `touches` has a byte by holder: whether it reaches
   what several do.  With `epoch` it gives no labels but counts what of the chunks that are held by several is
   reached; `seen` has by rank the epoch of which it was.  `stack` has chunks that are to be looked through; what
   finds no room there, or has no copy at hand, is PENDING.  Counting ends where more than `most` chunks are `reached`.
   Of what is counted, `led` are the bytes to which the shortest way is that of `lead`, by `nearest`.  */
struct labels {
    u64 own, first, met, epoch, most, reached, room, depth, pending, chunks, bytes, lead, led;
    u64 *stack;
    const struct reached *nearest;
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
        u64 size = bytes_of(to->region, to->chunk);
        x->bytes += size;
        if (x->nearest && x->nearest[to->rank].from == x->lead)
            x->led += size;
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

ALWAYS void look_through(const struct held *h, struct labels *x, const struct found *chunk)
{
    if (x->epoch)
        follow_all(h, x, &x->ahead, chunk, 0, count);
    else
        follow_all(h, x, &x->ahead, chunk, (x->labels[chunk->rank] & ~PENDING) == SEVERAL, label);
}

/* Look through chunks of the stack until it is empty, or so many steps are done.  */
EXPORT void heapx_label(const struct held *h, struct labels *x, u64 steps)
{
    u64 addresses[AHEAD];
    struct found chunk;
    for (u64 number = 1; number && steps; steps--) {
        for (number = 0; number < AHEAD && x->depth; number++)
            fetch(h, addresses[number] = x->stack[--x->depth]);
        for (u64 i = 0; i < number; i++)
            if (find(h, addresses[i], 1, &chunk))
                look_through(h, x, &chunk);
        if (!x->depth)
            settle_labels(h, x);
        if (x->reached > x->most && x->epoch)
            x->depth = x->pending = 0;
    }
    settle_labels(h, x);
}

/* Look through what is at hand of a large chunk.  */
EXPORT void heapx_label_large(const struct held *h, struct labels *x, u64 address, const uint8_t *copy)
{
    struct found chunk;
    struct region own;
    if (find_large(h, address, copy, &chunk, &own))
        look_through(h, x, &chunk);
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

/* What is added up: by label chunks and bytes; the labels of SEVERAL are the last one, and their chunks are added up
   once more, by the label that is `nearest`.  And for the labels that have a `row` bytes by kind: of both.  */
struct share { u64 chunks, bytes; };
struct totals {
    struct share *sums, *nearer;
    u64 last;
    const struct reached *nearest;
    const uint32_t *labels, *rows, *kinds;
    u64 *bytes, number;
};

ALWAYS void add(struct share *to, u64 size)
{
    to->chunks++;
    to->bytes += size;
}

/* Go on from a cursor, for so many chunks.  Return whether that was all.  */
EXPORT u64 heapx_total(const struct held *h, struct totals *x, struct cursor *at, u64 steps)
{
    for (struct found chunk; steps; steps--) {
        if (!next(h, at, &chunk))
            return 1;
        u64 own = x->labels[chunk.rank], size = bytes_of(chunk.region, chunk.chunk), several = own == SEVERAL;
        add(x->sums + (several ? x->last : own), size);
        if (several) {
            own = x->nearest ? x->nearest[chunk.rank].from : 0;
            add(x->nearer + own, size);
        }
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

/* A search for that, by rank.  What is noted is `whose` root leads there; or else which chunk does, its rank and 2:
   that ends where the chunk of rank `goal` is reached.  Of roots that are as near the one with the smaller note is
   taken.  A ring with room for all chunks, of which those from `head` to `tail` are to be looked through; `pending` more have no copy
   at hand.  */
struct ways { u64 whose, goal, head, tail, room, pending, *ring; struct reached *reached; struct ahead ahead; };

ALWAYS u64 note_of(u64 from, u64 far) { return far << 32 | from; }

ALWAYS void enqueue(struct ways *x, u64 address)
{
    x->ring[x->tail] = address;
    x->tail = x->tail + 1 == x->room ? 0 : x->tail + 1;
}

ALWAYS void step_to(void *given, const struct found *to, u64 note)
{
    struct ways *x = given;
    struct reached *r = x->reached + to->rank;
    uint32_t waits = r->far & WAITS;
    u64 counts = x->whose ? 0 : 32; /* from which bit on */
    if (r->from && note_of(r->from, r->far & ~WAITS) >> counts <= note >> counts)
        return;
    r->from = (uint32_t)note;
    r->far = (uint32_t)(note >> 32) | WAITS;
    if (waits)
        return;
    if (to->region->copy)
        enqueue(x, to->chunk + HEADER);
    else
        x->pending++;
}

/* Take in words of roots.  */
EXPORT void heapx_way_from(const struct held *h, struct ways *x, u64 from, u64 far, const u64 *words, u64 number)
{
    x->ahead.marks = (const uint8_t *)x->reached;
    x->ahead.width = REACHED_WIDTH;
    for (u64 i = 0; i < number; i++)
        follow(h, x, &x->ahead, words[i], note_of(from, far) << 1, step_to);
    settle(h, x, &x->ahead, step_to);
}

/* Look through a chunk, unless what it leads to is no nearer than the goal.  */
ALWAYS void step_from(const struct held *h, struct ways *x, const struct found *chunk)
{
    const struct reached *r = x->reached + chunk->rank, *goal = x->whose ? 0 : x->reached + x->goal;
    u64 far = (r->far & ~WAITS) + ((r->far & DEEPEST) != DEEPEST);
    if (!goal || !goal->from || far < (goal->far & ~WAITS))
        follow_all(h, x, &x->ahead, chunk, note_of(x->whose ? r->from : chunk->rank + 2, far), step_to);
}

/* Look through so many chunks.  Return whether that was all that is at hand.  */
EXPORT u64 heapx_way(const struct held *h, struct ways *x, u64 steps)
{
    for (struct found chunk; steps; steps--) {
        if (x->head == x->tail)
            settle(h, x, &x->ahead, step_to);
        if (x->head == x->tail)
            return 1;
        u64 address = x->ring[x->head], ahead = x->head + AHEAD;
        fetch(h, x->ring[ahead < x->room ? ahead : x->head]);
        x->head = x->head + 1 == x->room ? 0 : x->head + 1;
        if (find(h, address, 1, &chunk)) {
            x->reached[chunk.rank].far &= ~WAITS;
            step_from(h, x, &chunk);
        }
    }
    return 0;
}

/* Look through what is at hand of a large chunk.  */
EXPORT void heapx_way_large(const struct held *h, struct ways *x, u64 address, const uint8_t *copy)
{
    struct found chunk;
    struct region own;
    if (find_large(h, address, copy, &chunk, &own))
        step_from(h, x, &chunk);
    settle(h, x, &x->ahead, step_to);
}

/* Go on from a cursor up to a region, through so many chunks: put those that wait onto the ring.  Return whether that
   was all.  */
EXPORT u64 heapx_way_pending(const struct held *h, struct ways *x, struct cursor *at, u64 end, u64 steps)
{
    for (struct found chunk; steps; steps--) {
        if (!next(h, at, &chunk) || (u64)(chunk.region - h->regions) >= end)
            return 1;
        if (chunk.region->copy && x->reached[chunk.rank].far & WAITS) {
            x->pending--;
            enqueue(x, chunk.chunk + HEADER);
        }
    }
    return 0;
}
