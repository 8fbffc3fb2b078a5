/* What containers of the standard library have allocated, by what they say of it: bodies.py is the definition.  */

#include "../held/held.h"

enum { STRING = 9, VECTOR, DEQUE_MAP, DEQUE_BLOCK, BUCKETS, HASH_NODE, LIKELY_VECTOR = 25, STREAM };
enum { HOLDER = 10, BEFORE = 3, BEHIND = 24, SIZED = 11, LOCAL = 16, CACHED = 1032 };
enum { FUNCTORS = 64 }; /* marks from here on: what is called by that one of the pairs */
enum { LEAST_LOAD = 0x3d000000, MOST_LOAD = 0x42c80000 }; /* of max_load_factor: 1/32 to 100, as floats */

/* What a std::function leads to code by, and how many bytes it has in a chunk: 0 if none, ASKED until that is known.  */
struct pair { u64 manager, invoker, size; };
#define ASKED NOWHERE

/* Where the buckets of an unordered container begin, and its first node, and how many it has.  */
struct table { u64 buckets, first, nodes; };

/* What chunks are for containers, by rank; pairs that were met, as a table of `slots` of which `most` may be taken;
   how many of these are ASKED; the blocks of addresses that have code; spots of chunks that lead to what wasn't at
   hand, of which so many are kept, with room for others; and tables that are noted instead of being followed, unless
   that is null.  */
struct finder {
    uint16_t *marks;
    u64 chunks;
    struct pair *pairs;
    u64 slots, met, most, asked;
    const uint8_t *blocks;
    u64 (*spots)[BEFORE + BEHIND];
    u64 kept, room;
    struct table *tables;
    u64 noted, most_noted;
};

/* Nodes that are still to come, from the one at an address on; they get their mark, if it isn't 0.  `window` has what
   isn't at hand, so many bytes from `start` on.  */
struct chain { u64 at, left, mark; const uint8_t *window; u64 start, size; };

ALWAYS u64 is_free(const struct finder *x, u64 rank) { return !x->marks[rank] || x->marks[rank] >= FUNCTORS; }

/* Tell whether no more is known of a chunk than what three words say: more are proof.  */
ALWAYS u64 gives_way(const struct finder *x, u64 rank)
{
    return is_free(x, rank) || x->marks[rank] == VECTOR || x->marks[rank] == LIKELY_VECTOR;
}

ALWAYS u64 word_in(const struct body *b, u64 address) { return word_at(b->region, address); }

ALWAYS u64 is_string(const struct held *h, const struct body *b, u64 size, u64 capacity)
{
    return size <= capacity && capacity >= LOCAL && capacity < LARGEST && fills(h, b, capacity + 1) &&
           !b->region->copy[b->user + size - b->region->start];
}

/* Tell whether a string may be over whose words lie on a stack: malloc gives what it caches again, as it is, and
   others' memory is hardly text up to the same place.  */
ALWAYS u64 is_over(const struct body *b, u64 size)
{
    const uint8_t *text = b->region->copy + (b->user - b->region->start);
    u64 length = 0;
    while (b->usable <= CACHED && length < size && text[length])
        length++;
    return b->usable <= CACHED && (!size || length < size);
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

static void mark_deque(const struct held *h, struct finder *x, const struct body *map, const u64 *words)
{
    struct body block;
    if (!gives_way(x, map->rank))
        return;
    x->marks[map->rank] = DEQUE_MAP;
    for (u64 at = words[5]; at <= words[9]; at += 8)
        if (begins(h, word_in(map, at), &block) && gives_way(x, block.rank))
            x->marks[block.rank] = DEQUE_BLOCK;
}

/* Go along the nodes of an unordered container, as long as they are at hand or in the window.  */
static void along(const struct held *h, struct finder *x, struct chain *c)
{
    struct body node;
    for (; c->left && begins(h, c->at, &node); c->left--) {
        u64 offset = c->at - c->start;
        if (!node.region->copy && offset >= c->size)
            return;
        if (c->mark && gives_way(x, node.rank))
            x->marks[node.rank] = (uint16_t)c->mark;
        c->at = node.region->copy ? word_in(&node, c->at) : *(const u64 *)(c->window + offset);
    }
}

/* Go along all nodes; return whether there are as many as the container says.  */
static u64 nodes(const struct held *h, struct finder *x, u64 first, u64 count, u64 mark)
{
    struct chain c = {first, count, mark, 0, 0, 0};
    along(h, x, &c);
    return !c.left && !c.at;
}

static void mark_hashed(const struct held *h, struct finder *x, const struct body *b, const u64 *words)
{
    uint32_t load = (uint32_t)words[4];
    if (words[1] < 2 || words[1] >= LARGEST || !fills(h, b, 8 * words[1]) || words[3] > x->chunks ||
        load < LEAST_LOAD || load > MOST_LOAD || !gives_way(x, b->rank))
        return;
    if (x->tables && x->noted < x->most_noted)
        x->tables[x->noted++] = (struct table){b->user, words[2], words[3]};
    else if (!x->tables && nodes(h, x, words[2], words[3], 0)) {
        x->marks[b->rank] = BUCKETS;
        nodes(h, x, words[2], words[3], HASH_NODE);
    }
}

/* Return the pair that four words lead to, which is ASKED if it is a new one; null where there is no room.  */
static struct pair *pair_of(struct finder *x, const u64 *words)
{
    u64 at = (words[3] * 0x9e3779b97f4a7c15 >> 32 ^ words[2]) & (x->slots - 1);
    for (;; at = (at + 1) & (x->slots - 1)) {
        struct pair *pair = x->pairs + at;
        if (pair->manager == words[2] && pair->invoker == words[3])
            return pair;
        if (!pair->manager)
            break;
    }
    if (x->met == x->most)
        return 0;
    x->met++;
    x->asked++;
    x->pairs[at] = (struct pair){words[2], words[3], ASKED};
    return x->pairs + at;
}

/* Mark what a std::function has in a chunk, if words are one.  Of several the one counts whose function lies first:
   the order in which they are met doesn't matter.  */
static void mark_functor(const struct held *h, struct finder *x, const struct body *b, const u64 *words)
{
    const struct pair *pair = pair_of(x, words);
    u64 mark = x->marks[b->rank];
    if (!pair || pair->size == ASKED || !pair->size || !fills(h, b, pair->size))
        return;
    if (!mark || (mark >= FUNCTORS && pair->invoker < x->pairs[mark - FUNCTORS].invoker))
        x->marks[b->rank] = (uint16_t)(FUNCTORS + (pair - x->pairs));
}

/* Tell whether words may be a container, of which `left` are at hand: a pointer into a heap, and a number, or two
   further ones, or code twice.  */
ALWAYS u64 may_hold(const struct held *h, const struct finder *x, const u64 *words, u64 left)
{
    return words[0] - h->low < h->high - h->low && !(words[0] % GRAIN) && left > 2 &&
           (words[1] < LARGEST ||
            (words[1] >= words[0] && words[2] >= words[1] && words[2] - words[0] < LARGEST) ||
            (left > 3 && may_call(x->blocks, words)));
}

/* Tell whether three words lead into a stream's buffer.  Behind them its beginning comes again, and its end (struct
   _IO_FILE, where it writes), or its size (basic_filebuf).  */
static u64 is_buffer(const struct held *h, const struct body *b, const u64 *words, u64 left)
{
    if (words[1] < *words || words[2] < words[1] || words[2] - *words > b->usable)
        return 0;
    if (left > 4 && words[3] == *words && words[4] > *words && fills(h, b, words[4] - *words))
        return 1;
    for (u64 i = SIZED; i + 1 < BEHIND && i + 1 < left; i++)
        if (words[i] == *words && words[i + 1] && fills(h, b, words[i + 1]))
            return 1;
    return 0;
}

/* Tell whether of three words before these two are the same, as a stream has them that writes.  */
ALWAYS u64 is_cut_stream(const u64 *words, u64 before)
{
    u64 same = 0;
    for (u64 i = 1; i <= BEFORE && i <= before; i++)
        same += words[-(int64_t)i] == *words;
    return same > 1;
}

/* Give what a container has allocated its mark; `words` are what it has, if it is one, which may be `over`.  */
static void look_at(const struct held *h, struct finder *x, const u64 *words, u64 before, u64 left, u64 over)
{
    uint16_t *marks = x->marks;
    struct body b;
    if (!begins(h, words[0], &b))
        return;
    u64 seen = b.region->copy != 0; /* elsewhere what is known of sizes must do */
    if (seen && is_string(h, &b, words[1], words[2])) {
        if (!over || (is_free(x, b.rank) && !is_over(&b, words[1])))
            marks[b.rank] = STRING;
    } else if (is_buffer(h, &b, words, left)) {
        if (is_free(x, b.rank) && !(over && b.usable <= CACHED))
            marks[b.rank] = STREAM;
    } else if (is_vector(h, &b, words[1], words[2])) {
        if (is_free(x, b.rank) && !is_cut_stream(words, before))
            marks[b.rank] = over && b.usable <= CACHED ? LIKELY_VECTOR : VECTOR;
    } else if (left > 3 && may_call(x->blocks, words))
        mark_functor(h, x, &b, words);
    else if (seen && left >= HOLDER && is_deque(h, &b, words))
        mark_deque(h, x, &b, words);
    else if (left > 4)
        mark_hashed(h, x, &b, words);
}

/* Tell whether words may be a container that must be looked at with what isn't at hand: a string, or one with a
   table.  */
static u64 leads_away(const struct held *h, const struct finder *x, const u64 *words, u64 left)
{
    struct body b;
    if (!begins(h, words[0], &b))
        return 0;
    uint32_t load = left > 4 ? (uint32_t)words[4] : 0;
    u64 hashed = load >= LEAST_LOAD && load <= MOST_LOAD && words[3] <= x->chunks;
    if (b.region->copy && (!hashed || x->marks[b.rank]))
        return 0;
    return (words[1] <= words[2] && words[2] >= LOCAL && words[2] < LARGEST && fills(h, &b, words[2] + 1)) ||
           (words[1] && words[1] < LARGEST && fills(h, &b, 8 * words[1]));
}

/* Keep the words of a chunk that must be looked at again.  */
static void keep(struct finder *x, const u64 *words, u64 before, u64 left)
{
    u64 *spot = x->spots[x->kept++];
    for (u64 i = 0; i < BEFORE + BEHIND; i++)
        spot[i] = i + before >= BEFORE && i < BEFORE + left ? words[(int64_t)i - BEFORE] : 0;
}

/* Look for containers among words.  */
EXPORT void heapx_bodies_in(const struct held *h, struct finder *x, const u64 *words, u64 count)
{
    for (u64 i = 0; i < count; i++)
        if (may_hold(h, x, words + i, count - i))
            look_at(h, x, words + i, i, count - i, 0);
}

/* Look for containers in spots (spots.py), which may be `over`.  */
EXPORT void heapx_bodies_at(
    const struct held *h, struct finder *x, const u64 (*spots)[BEFORE + BEHIND], u64 count, u64 over)
{
    for (u64 i = 0; i < count; i++)
        look_at(h, x, spots[i] + BEFORE, BEFORE, BEHIND, over);
}

/* Go along the nodes of an unordered container.  */
EXPORT void heapx_bodies_along(const struct held *h, struct finder *x, struct chain *c) { along(h, x, c); }

/* Look for containers in up to `steps` chunks of the region that a cursor is in; return how many that were.  */
EXPORT u64 heapx_bodies(const struct held *h, struct finder *x, struct cursor *at, u64 steps)
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
                u64 before = (a - f.chunk - HEADER) / 8, left = (end - a) / 8;
                if (!may_hold(h, x, words, left))
                    continue;
                look_at(h, x, words, before, left, 0);
                if (x->kept < x->room && leads_away(h, x, words, left))
                    keep(x, words, before, left);
            }
        }
    }
    return done;
}
