/* The chunks in use of a target, as they are held when it runs on: an index of where they lie, and what their
   memory has; for 64-bit little-endian targets.  index.py defines all of it, declared.py has the structs.
   Nothing here needs a symbol of any library; no word of the target is trusted: each address is looked up in
   the index, each read is of memory that the index has a chunk for.  */

#include <stdint.h>

typedef uint64_t u64;
#define EXPORT __attribute__((visibility("default")))
#define ALWAYS static inline __attribute__((always_inline))

enum { GRAIN = 16, CELL = 64, HEADER = 16, TAIL = 8, FLAGS = 7, PREV_INUSE = 1 };
enum { COPIED = 0x40, RESIDENT = 1, SWAPPED = 2, ZERO_PAGE = 3, SHARED = 4, STATES = 8 }; /* a page's (pages.py) */
#define NOWHERE (~(u64)0)

/* 64 grains of a region, a bit each: where a chunk in use begins, and which is the last one of it.  `rank` such
   chunks of the region begin before; the one that reaches into the cell begins `back` grains before, 0 if none.  */
struct cell { u64 starts, ends; uint32_t rank, back; };

/* A heap from its first chunk on, or the mapping of one `chunk`; `end` is behind all memory of chunks.  `copy` has
   what lies there, null where it isn't at hand, `pages` a byte for each page, null where that isn't known; `first`
   is the rank of its first chunk.  */
struct region { u64 start, end, chunk, first; const uint8_t *copy, *pages; struct cell *cells; };

struct held { u64 low, high, count, page_bits; const struct region *regions; };

/* A chunk in use, its memory, and whether an address is where that begins.  */
struct found { const struct region *region; u64 chunk, rank, begins; };

ALWAYS u64 below(u64 bit) { return ((u64)1 << bit) - 1; }
ALWAYS u64 highest(u64 bits) { return 63 - (u64)__builtin_clzll(bits); }
ALWAYS u64 lowest(u64 bits) { return (u64)__builtin_ctzll(bits); }

ALWAYS u64 ones(u64 x)
{
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    return ((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56;
}

ALWAYS u64 word_at(const struct region *r, u64 address) { return *(const u64 *)(r->copy + (address - r->start)); }

/* Return the region that has an address, null without.  */
ALWAYS const struct region *region_of(const struct held *h, u64 address)
{
    if (address - h->low >= h->high - h->low)
        return 0;
    const struct region *first = h->regions;
    for (u64 count = h->count; count > 1;) { /* the first one begins at `low` */
        u64 half = count / 2;
        first += address >= first[half].start ? half : 0;
        count -= half;
    }
    return address < first->end ? first : 0;
}

/* Return where the chunk begins that has a grain, NOWHERE if none in use has.  */
ALWAYS u64 covering(const struct cell *cells, u64 grain)
{
    const struct cell *c = cells + grain / CELL;
    u64 bit = grain % CELL, starts = c->starts & (below(bit) << 1 | 1), ended = c->ends & below(bit);
    if (starts) {
        u64 start = highest(starts);
        return ended >> start ? NOWHERE : grain - bit + start;
    }
    return ended || !c->back ? NOWHERE : grain - bit - c->back;
}

ALWAYS u64 rank_of(const struct region *r, u64 grain)
{
    const struct cell *c = r->cells + grain / CELL;
    return r->first + c->rank + ones(c->starts & below(grain % CELL));
}

ALWAYS u64 is_start(const struct region *r, u64 grain) { return r->cells[grain / CELL].starts >> grain % CELL & 1; }

/* Find the chunk in use whose memory has an address; return whether there is one.  The first word of a header is
   the last one of the chunk before.  With `inner` 0 only where its memory begins.  */
ALWAYS u64 find(const struct held *h, u64 address, u64 inner, struct found *f)
{
    const struct region *r = region_of(h, address);
    if (!r)
        return 0;
    f->region = r;
    if (r->chunk) {
        f->chunk = r->chunk;
        f->rank = r->first;
        f->begins = address == r->chunk + HEADER;
        return f->begins || (inner && address > r->chunk + HEADER);
    }
    u64 at = address - r->start, grain = at / GRAIN;
    f->begins = !(at % GRAIN) && grain && is_start(r, grain - 1);
    if (f->begins)
        grain--;
    else if (!inner)
        return 0;
    else {
        u64 start = covering(r->cells, grain);
        if (start == grain || start == NOWHERE) {
            if (at % GRAIN >= TAIL)
                return 0;
            if (!grain) { /* the piece of a heap before */
                if (r == h->regions || r[-1].chunk || address >= r[-1].end)
                    return 0;
                f->region = --r;
                grain = (address - r->start) / GRAIN;
            }
            if (!grain || !(r->cells[(grain - 1) / CELL].ends >> (grain - 1) % CELL & 1))
                return 0;
            start = covering(r->cells, grain - 1);
        }
        grain = start;
    }
    f->chunk = r->start + grain * GRAIN;
    f->rank = rank_of(r, grain);
    return 1;
}

/* Return where a chunk ends that begins at a grain: behind its last one.  */
ALWAYS u64 end_of(const struct region *r, u64 grain)
{
    u64 at = grain / CELL, ends = r->cells[at].ends & ~below(grain % CELL);
    while (!ends)
        ends = r->cells[++at].ends;
    return at * CELL + lowest(ends) + 1;
}

/* Return the bytes that a chunk counts: of one with a mapping all of that.  */
ALWAYS u64 bytes_of(const struct region *r, u64 chunk)
{
    u64 grain = (chunk - r->start) / GRAIN;
    return r->chunk ? r->end - r->start : (end_of(r, grain) - grain) * GRAIN;
}

/* Return where the memory of a chunk ends.  */
ALWAYS u64 memory_end(const struct region *r, u64 chunk)
{
    return r->chunk ? r->end : chunk + bytes_of(r, chunk) + TAIL;
}

/* A chunk that something seems to hold: where its memory begins, how much that is, and its rank.  */
struct body { const struct region *region; u64 user, usable, rank; };

enum { ROUNDED = 32 }; /* bytes that malloc may give more than was asked for */
#define LARGEST ((u64)1 << 40)

/* Find the chunk in use whose memory begins at an address; return whether there is one.  */
ALWAYS u64 begins(const struct held *h, u64 address, struct body *b)
{
    struct found f;
    if (address % GRAIN || !find(h, address, 0, &f) || !f.begins)
        return 0;
    b->region = f.region;
    b->user = address;
    b->usable = memory_end(f.region, f.chunk) - address;
    b->rank = f.rank;
    return 1;
}

/* Tell whether so many bytes are what a chunk was asked for: as many as there are, but for what malloc rounds up.  */
ALWAYS u64 fills(const struct held *h, const struct body *b, u64 size)
{
    u64 room = b->region->chunk ? ((u64)1 << h->page_bits) + ROUNDED : ROUNDED;
    return size <= b->usable && b->usable - size < room;
}

enum { BLOCK_BITS = 21, BLOCKS = 1 << 12 };

/* Tell whether a word may lead to code, by the blocks of addresses that have some (spots.py).  */
ALWAYS u64 may_be_code(const uint8_t *blocks, u64 word) { return blocks[(word >> BLOCK_BITS) % BLOCKS]; }

/* Tell whether four words may be a std::function.  */
ALWAYS u64 may_call(const uint8_t *blocks, const u64 *words)
{
    return may_be_code(blocks, words[2]) && may_be_code(blocks, words[3]);
}

/* Where one goes on through the chunks in use: a region, and in it a grain.  */
struct cursor { u64 region, grain; };

ALWAYS u64 grains_of(const struct region *r) { return r->chunk ? 1 : (r->end - r->start) / GRAIN + 1; }

/* Find the first chunk in use from a cursor on, which goes behind it; return whether there is one.  */
ALWAYS u64 next(const struct held *h, struct cursor *c, struct found *f)
{
    for (; c->region < h->count; c->region++, c->grain = 0) {
        const struct region *r = f->region = h->regions + c->region;
        u64 grain = c->grain, grains = grains_of(r);
        if (r->chunk && grain < grains) {
            c->grain = grains;
            f->chunk = r->chunk;
            f->rank = r->first;
            return 1;
        }
        for (; !r->chunk && grain < grains; grain = (grain / CELL + 1) * CELL) {
            u64 starts = r->cells[grain / CELL].starts & ~below(grain % CELL);
            if (starts) {
                grain = grain / CELL * CELL + lowest(starts);
                c->grain = grain + 1;
                f->chunk = r->start + grain * GRAIN;
                f->rank = rank_of(r, grain);
                return 1;
            }
        }
    }
    return 0;
}
