/* What containers of the standard library have allocated, by what they say of it: bodies.py is the definition.  */

#include "../held/held.h"

enum { STRING = 9, VECTOR, DEQUE_MAP, DEQUE_BLOCK, BUCKETS, HASH_NODE, HOLDER = 10, NEAR = 3, ROOM = 32, LOCAL = 16 };
enum { LEAST_LOAD = 0x3d000000, MOST_LOAD = 0x42c80000 }; /* of max_load_factor: 1/32 to 100, as floats */
#define LARGEST ((u64)1 << 40)

/* A chunk that something seems to hold: where its memory begins, how much that is, and its rank.  */
struct body { const struct region *region; u64 user, usable, rank; };

ALWAYS u64 begins(const struct held *h, u64 address, struct body *b)
{
    struct found f;
    if (address % GRAIN || !find(h, address, 0, &f) || !f.begins || !f.region->copy)
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
    u64 room = b->region->chunk ? ((u64)1 << h->page_bits) + ROOM : ROOM;
    return size <= b->usable && b->usable - size < room;
}

ALWAYS u64 word_in(const struct body *b, u64 address) { return word_at(b->region, address); }

ALWAYS u64 is_string(const struct held *h, const struct body *b, u64 size, u64 capacity)
{
    return size <= capacity && capacity >= LOCAL && capacity < LARGEST && fills(h, b, capacity + 1) &&
           !b->region->copy[b->user + size - b->region->start];
}

ALWAYS u64 is_vector(const struct held *h, const struct body *b, u64 end, u64 limit)
{
    return end >= b->user && end <= limit && limit > b->user && fills(h, b, limit - b->user);
}

/* Tell whether an iterator of a deque's leads to a node of its map.  */
ALWAYS u64 is_iterator(const struct body *map, u64 size, const u64 *words)
{
    u64 at = words[3] - map->user;
    return at < 8 * size && !(at & 7) && words[0] >= words[1] && words[0] < words[2] &&
           word_in(map, words[3]) == words[1];
}

ALWAYS u64 is_deque(const struct held *h, const struct body *map, const u64 *words)
{
    return words[1] && words[1] < LARGEST && fills(h, map, 8 * words[1]) && is_iterator(map, words[1], words + 2) &&
           is_iterator(map, words[1], words + 6) && words[5] <= words[9];
}

static void mark_deque(const struct held *h, uint8_t *marks, const struct body *map, const u64 *words)
{
    struct body block;
    if (marks[map->rank])
        return;
    marks[map->rank] = DEQUE_MAP;
    for (u64 at = words[5]; at <= words[9]; at += 8)
        if (begins(h, word_in(map, at), &block) && !marks[block.rank])
            marks[block.rank] = DEQUE_BLOCK;
}

/* Go along the nodes of an unordered container; return whether there are as many as it says.  With `mark` give them
   their mark.  */
static u64 nodes(const struct held *h, uint8_t *marks, u64 first, u64 count, u64 mark)
{
    struct body node;
    u64 at = first;
    for (u64 left = count; left; left--, at = word_in(&node, at)) {
        if (!begins(h, at, &node))
            return 0;
        if (mark && !marks[node.rank])
            marks[node.rank] = HASH_NODE;
    }
    return !at;
}

static void mark_hashed(const struct held *h, uint8_t *marks, u64 chunks, const struct body *b, const u64 *words)
{
    uint32_t load = (uint32_t)words[4];
    if (words[1] < 2 || words[1] >= LARGEST || !fills(h, b, 8 * words[1]) || words[3] > chunks || load < LEAST_LOAD ||
        load > MOST_LOAD || marks[b->rank] || !nodes(h, marks, words[2], words[3], 0))
        return;
    marks[b->rank] = BUCKETS;
    nodes(h, marks, words[2], words[3], 1);
}

/* Tell whether words may be a container, of which `left` are at hand: a pointer into a heap, and a number, or two
   further ones.  */
ALWAYS u64 may_hold(const struct held *h, const u64 *words, u64 left)
{
    return words[0] - h->low < h->high - h->low && !(words[0] % GRAIN) && left > 2 &&
           (words[1] < LARGEST ||
            (words[1] >= words[0] && words[2] >= words[1] && words[2] - words[0] < LARGEST));
}

/* Tell whether another word near three that a vector may have leads to the same memory: then they are a stream's
   (struct _IO_FILE, basic_streambuf), which has several such pointers.  */
static u64 is_stream(const u64 *words, u64 before, u64 left)
{
    u64 found = 0;
    for (u64 i = 1; i <= NEAR; i++)
        found |= (i <= before && words[-(int64_t)i] == *words) || (i + 2 < left && words[i + 2] == *words);
    return found;
}

static void look_at(const struct held *h, uint8_t *marks, u64 chunks, const u64 *words, u64 before, u64 left)
{
    struct body b;
    if (!begins(h, words[0], &b))
        return;
    if (is_string(h, &b, words[1], words[2]))
        marks[b.rank] = STRING;
    else if (is_vector(h, &b, words[1], words[2])) {
        if (!marks[b.rank] && !is_stream(words, before, left))
            marks[b.rank] = VECTOR;
    } else if (left >= HOLDER && is_deque(h, &b, words))
        mark_deque(h, marks, &b, words);
    else if (left > 4)
        mark_hashed(h, marks, chunks, &b, words);
}

/* Look for containers among words.  */
EXPORT void heapx_bodies_in(const struct held *h, uint8_t *marks, u64 chunks, const u64 *words, u64 count)
{
    for (u64 i = 0; i < count; i++)
        if (may_hold(h, words + i, count - i))
            look_at(h, marks, chunks, words + i, i, count - i);
}

/* Look for containers in up to `steps` chunks of the region that a cursor is in; return how many that were.  */
EXPORT u64 heapx_bodies(const struct held *h, uint8_t *marks, u64 chunks, struct cursor *at, u64 steps)
{
    u64 region = at->region, done = 0;
    for (struct found f; done < steps && next(h, at, &f) && at->region == region; done++) {
        const struct region *r = f.region;
        u64 from = f.chunk + HEADER, end = memory_end(r, f.chunk), page = (u64)1 << h->page_bits;
        for (u64 stop; r->copy && from + 8 <= end; from = stop) {
            stop = end - from > page - from % page ? (from & -page) + page : end;
            if (r->pages && !(r->pages[(from >> h->page_bits) - (r->start >> h->page_bits)] & COPIED))
                continue;
            for (u64 a = from; a + 8 <= stop; a += 8) {
                const u64 *words = (const u64 *)(r->copy + (a - r->start));
                if (may_hold(h, words, (end - a) / 8))
                    look_at(h, marks, chunks, words, (a - f.chunk - HEADER) / 8, (end - a) / 8);
            }
        }
    }
    return done;
}
