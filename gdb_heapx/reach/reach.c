/* What is reached from where, by the words of chunks in use: flood.py is the definition.  */

#include "reach.h"
#include "../held/hidden.h"

/* Of a chunk's state, a byte by its rank: its degree, and whether a pointer leads to its inside, or it must still
   be looked through.  */
enum { DEGREE = 0x0f, INSIDE = 0x40, PENDING = 0x80 };
enum { NONE, HANGS = 5, HEAD, START, REACHED };

struct sum { u64 chunks, bytes, resident, swapped; };

/* A flood: chunks of degree `from`, or `also`, that are reached get `mark`; by pointers to their insides too where
   `inner` is set, else such ones get INSIDE.  `stack` has chunks that are to be looked through; what finds no room
   there, or has no copy at hand, is PENDING.  `marked` are those that got a mark.  `ahead` has words
   that wait for what they need of the index.  Chunks are looked at in a `way`, too, null without.  */
struct flood {
    u64 from, also, mark, inner, room, depth, pending;
    struct sum marked;
    u64 *stack;
    uint8_t *states;
    struct ahead ahead;
    const struct way *way;
};

/* Chunks of a kind: what they are together, and the first one; what hangs from heads of a kind, and the head that
   most hangs from, itself included.  */
struct group { struct sum sum; u64 sample; };
struct hanging { struct sum sum; u64 most, at; };

/* How heads are found: where that is, the `head` that the flood comes from, null at none, its rank, and what was
   marked before; the kind of each chunk by its rank, null where all are of one; and what hangs from each kind.  */
struct heads { struct cursor at; u64 head, rank; struct sum before; const uint32_t *kinds; struct hanging *hanging; };

/* Add a chunk, with what of it is in memory.  */
ALWAYS void add(const struct held *h, struct sum *sum, const struct region *r, u64 chunk)
{
    u64 size = bytes_of(r, chunk), at = r->chunk ? r->start : chunk, end = at + size;
    sum->chunks++;
    sum->bytes += size;
    for (u64 page = (u64)1 << h->page_bits, next; r->pages && at < end; at = next) {
        uint8_t state = r->pages[(at >> h->page_bits) - (r->start >> h->page_bits)] % STATES;
        next = end - at > page - at % page ? (at & -page) + page : end;
        sum->resident += state == RESIDENT || state == SHARED ? next - at : 0;
        sum->swapped += state == SWAPPED ? next - at : 0;
    }
}

ALWAYS void push(const struct held *h, struct flood *f, const struct found *hit)
{
    f->states[hit->rank] = (uint8_t)f->mark;
    add(h, &f->marked, hit->region, hit->chunk);
    if (hit->region->copy && f->depth < f->room)
        f->stack[f->depth++] = hit->chunk + HEADER;
    else {
        f->states[hit->rank] |= PENDING;
        f->pending++;
    }
}

/* A flood in the memory that is held.  */
struct flooding { const struct held *h; struct flood *f; };

/* Reach a chunk that a word leads to.  */
ALWAYS void reach(void *given, const struct found *to, u64 note)
{
    const struct flooding *x = given;
    uint8_t *state = x->f->states + to->rank, degree = *state & DEGREE;
    (void)note;
    if (degree != x->f->from && degree != x->f->also)
        return;
    if (to->begins || x->f->inner)
        push(x->h, x->f, to);
    else
        *state |= INSIDE;
}

/* Look in a way at the memory of a chunk: pages that were not copied are zeros.  */
static void look_otherwise(const struct held *h, struct flood *f, const struct found *chunk)
{
    struct flooding x = {h, f};
    const struct region *r = chunk->region;
    u64 user = chunk->chunk + HEADER, size = memory_end(r, chunk->chunk) - user, page = (u64)1 << h->page_bits;
    struct hidden found = {f->way, r->copy + (user - r->start), size, 0, 0, 0, 0};
    for (u64 first = 0; first < size; first = found.stop) {
        u64 at = user + first;
        found.at = found.half = first;
        found.stop = size - first > page - at % page ? first + page - at % page : size;
        if (r->pages && !(r->pages[(at >> h->page_bits) - (r->start >> h->page_bits)] & COPIED)) {
            found.at = f->way->step == 1 ? found.stop - WORD + 1 : found.stop; /* what reaches into the next one */
            found.half = found.stop;
        }
        while (find_hidden(h, &found))
            follow(h, &x, &f->ahead, found.word, 0, reach);
    }
}

/* Look through chunks of the stack until it is empty, or so many steps are done; return how many are left.  What is
   looked through next is fetched before.  */
EXPORT u64 heapx_flood(const struct held *h, struct flood *f, u64 steps)
{
    struct flooding x = {h, f};
    struct found chunk, next[AHEAD];
    u64 first = 0, count = 0;
    f->ahead.marks = f->states;
    for (; steps; steps--) {
        if (!count && !f->depth)
            settle(h, &x, &f->ahead, reach);
        while (count < AHEAD && f->depth) {
            struct found *place = next + (first + count) % AHEAD;
            if (find(h, f->stack[--f->depth], 1, place)) {
                __builtin_prefetch(place->region->copy + (place->chunk - place->region->start) + HEADER);
                count++;
            }
        }
        if (!count)
            break;
        chunk = next[first++ % AHEAD];
        count--;
        follow_all(h, &x, &f->ahead, &chunk, 0, reach);
        if (f->way)
            look_otherwise(h, f, &chunk);
    }
    for (; count; count--)
        f->stack[f->depth++] = next[first++ % AHEAD].chunk + HEADER;
    settle(h, &x, &f->ahead, reach);
    return steps;
}

/* Look through what is at hand of a large chunk.  */
EXPORT void heapx_flood_large(const struct held *h, struct flood *f, u64 address, const uint8_t *copy)
{
    struct flooding x = {h, f};
    struct found chunk;
    struct region own;
    if (!find_large(h, address, copy, &chunk, &own))
        return;
    f->ahead.marks = f->states;
    follow_all(h, &x, &f->ahead, &chunk, 0, reach);
    if (f->way)
        look_otherwise(h, f, &chunk);
    settle(h, &x, &f->ahead, reach);
}

/* Take in words that lie outside of all chunks.  */
EXPORT void heapx_visit(const struct held *h, struct flood *f, const u64 *words, u64 count)
{
    struct flooding x = {h, f};
    f->ahead.marks = f->states;
    for (u64 i = 0; i < count; i++)
        follow(h, &x, &f->ahead, words[i], 0, reach);
    settle(h, &x, &f->ahead, reach);
}

/* Go on from a cursor: put chunks with all bits of `mask` as in `wanted` onto the stack, marked, and those that are
   PENDING as they are; as many as there is room for.  Return whether that was all.  */
EXPORT u64 heapx_resume(const struct held *h, struct flood *f, struct cursor *at, u64 mask, u64 wanted)
{
    struct cursor before = *at;
    for (struct found chunk; next(h, at, &chunk); before = *at) {
        uint8_t state = f->states[chunk.rank];
        if ((state & mask) != wanted)
            continue;
        if (f->depth == f->room) {
            *at = before;
            return 0;
        }
        if (wanted & PENDING) {
            if (!chunk.region->copy)
                continue;
            f->states[chunk.rank] &= (uint8_t)~PENDING;
            f->pending--;
            f->stack[f->depth++] = chunk.chunk + HEADER;
        } else
            push(h, f, &chunk);
    }
    return 1;
}

/* Go on from a cursor: of the chunks that have degree NONE, in order, make each a START from which the flood goes
   on before the next one.  Return whether that was all; else it goes on where nothing is PENDING.  */
EXPORT u64 heapx_starts(const struct held *h, struct flood *f, struct cursor *at, u64 steps)
{
    for (struct found chunk; steps && !f->pending; steps -= steps > 0) {
        if (f->depth)
            steps = heapx_flood(h, f, steps);
        else if (!next(h, at, &chunk))
            return 1;
        else if (!(f->states[chunk.rank] & DEGREE)) {
            u64 mark = f->mark;
            f->mark = START;
            push(h, f, &chunk);
            f->mark = mark;
        }
    }
    return 0;
}

/* Find the last chunk in use before a cursor, which goes there; return whether there is one.  */
ALWAYS u64 previous(const struct held *h, struct cursor *c, struct found *f)
{
    for (; c->region < h->count; c->region--, c->grain = NOWHERE) { /* below 0 it is large */
        const struct region *r = f->region = h->regions + c->region;
        u64 grain = c->grain < grains_of(r) ? c->grain : grains_of(r); /* those before it */
        if (r->chunk && grain) {
            c->grain = 0;
            f->chunk = r->chunk;
            f->rank = r->first;
            return 1;
        }
        for (; !r->chunk && grain; grain = (grain - 1) / CELL * CELL) {
            u64 starts = r->cells[(grain - 1) / CELL].starts & (below((grain - 1) % CELL) << 1 | 1);
            if (starts) {
                c->grain = (grain - 1) / CELL * CELL + highest(starts);
                f->chunk = r->start + c->grain * GRAIN;
                f->rank = rank_of(r, c->grain);
                return 1;
            }
        }
    }
    return 0;
}

ALWAYS void plus(struct sum *to, const struct sum *of, const struct sum *less)
{
    to->chunks += of->chunks - less->chunks;
    to->bytes += of->bytes - less->bytes;
    to->resident += of->resident - less->resident;
    to->swapped += of->swapped - less->swapped;
}

/* End the flood from a head: add all that it has marked to what is of the head's kind.  */
static void end_head(struct flood *f, struct heads *x)
{
    struct hanging *of = x->hanging + (x->kinds ? x->kinds[x->rank] : 0);
    u64 bytes = f->marked.bytes - x->before.bytes;
    plus(&of->sum, &f->marked, &x->before);
    of->at = bytes > of->most ? x->head : of->at;
    of->most = bytes > of->most ? bytes : of->most;
    x->head = 0;
}

/* Go back from a cursor: each START that no other one behind it reaches is a HEAD, and what it reaches HANGS from
   it.  Return as heapx_starts.  */
EXPORT u64 heapx_heads(const struct held *h, struct flood *f, struct heads *x, u64 steps)
{
    for (struct found chunk; steps && !f->pending; steps -= steps > 0) {
        if (f->depth)
            steps = heapx_flood(h, f, steps);
        else if (x->head)
            end_head(f, x);
        else if (!previous(h, &x->at, &chunk))
            return 1;
        else if ((f->states[chunk.rank] & DEGREE) == START) {
            x->before = f->marked;
            x->head = chunk.chunk;
            x->rank = chunk.rank;
            f->mark = HEAD;
            push(h, f, &chunk);
            f->mark = HANGS;
        }
    }
    return 0;
}

/* Go on from a cursor: add up so many chunks, each to the group of its degree and kind; there are `kinds` of each
   degree.  Return whether that was all.  */
EXPORT u64 heapx_sums(const struct held *h, const uint8_t *states, const uint32_t *kind, struct group *groups,
                      u64 kinds, struct cursor *at, u64 steps)
{
    for (struct found chunk; steps; steps--) {
        if (!next(h, at, &chunk))
            return 1;
        struct group *g = groups + (states[chunk.rank] & DEGREE) * kinds + (kind ? kind[chunk.rank] : 0);
        g->sample = g->sample ? g->sample : chunk.chunk;
        add(h, &g->sum, chunk.region, chunk.chunk);
    }
    return 0;
}
