/* What the chunks in use are: a key for each, of which there are few.  recognisers.py is the definition, kinds.py has
   the numbers of codes and meanings.  Nothing here needs a symbol of any library; each word of the target is only
   looked at: what it leads to is looked up in the index, and read where there is a copy.  */

#include "../held/held.h"
#include "kinds.h"
#include "text.h"

/* A chunk that is looked at: its memory, from `at` on in the copy, and what was found in it.  */
struct chunk {
    const struct region *region;
    u64 header, user, words, bytes;
    const u64 *at;
    u64 objects, vtable, first, second, last, zero, pointers;
};

ALWAYS u64 is_heap(const struct held *h, u64 address) { return region_of(h, address) != 0; }

/* Read a word of a heap, or of a root that leads to a chunk; return whether it is at hand.  */
ALWAYS u64 read(const struct held *h, const struct kinds *k, u64 address, u64 *word)
{
    const struct region *r = region_of(h, address);
    if (r) {
        if (!r->copy || r->end - address < 8)
            return 0;
        *word = word_at(r, address);
        return 1;
    }
    u64 first = 0;
    for (u64 count = k->root_count; count > 1;) {
        u64 half = count / 2;
        first += address >= k->root_at[first + half] ? half : 0;
        count -= half;
    }
    if (!k->root_count || k->root_at[first] != address)
        return 0;
    *word = k->root_to[first];
    return 1;
}

ALWAYS u64 leads(const struct held *h, const struct kinds *k, u64 address, u64 to)
{
    u64 word;
    return read(h, k, address, &word) && word == to;
}

/* Return the state of the page that lies at an address: COPIED where that isn't known.  */
ALWAYS u64 state_of(const struct held *h, const struct region *r, u64 address)
{
    u64 first = r->start >> h->page_bits;
    return r->pages ? r->pages[(address >> h->page_bits) - first] : COPIED;
}

/* Return where the piece of a chunk's words ends that begins with one: with its page, or the chunk.  */
ALWAYS u64 piece_end(const struct held *h, const struct chunk *c, u64 from)
{
    u64 page = (u64)1 << h->page_bits, next = ((c->user + 8 * from) & -page) + page, end = (next - c->user) / 8;
    return end < c->words ? end : c->words;
}

ALWAYS void meet_object(struct kinds *k, struct chunk *c, u64 at, u64 word)
{
    if (!c->objects) {
        c->vtable = word;
        c->first = at;
    } else if (word != c->vtable) {
        place_of(k, word)->inside++;
        return;
    } else if (c->objects == 1)
        c->second = at;
    c->last = at;
    c->objects++;
}

/* Look at all words of a chunk; return whether they are at hand.  */
ALWAYS u64 look_at(const struct held *h, struct kinds *k, struct chunk *c)
{
    for (u64 at = 0, end; at < c->words; at = end) {
        u64 state = state_of(h, c->region, c->user + 8 * at);
        end = piece_end(h, c, at);
        if (!(state & COPIED)) {
            if (state && state != ZERO_PAGE)
                return 0; /* in swap, or of a chunk that is too large */
            continue; /* nobody has touched it: zeros */
        }
        for (u64 i = at; i < end; i++) {
            u64 word = c->at[i];
            if (!word)
                continue;
            c->zero = 0;
            u64 means = meaning(k, word);
            if (means == VTABLE || (i && (means == COUNTS_INT || means == COUNTS_LONG)))
                meet_object(k, c, i, word);
            if (c->pointers && !is_heap(h, word)) {
                const struct part *part = part_of(k, word);
                c->pointers = part && !part->code;
            }
        }
    }
    return 1;
}

ALWAYS u64 counts_objects(u64 value) { return (uint32_t)value && !(value >> 32 & 0xffff); }

ALWAYS u64 is_dead(const struct kinds *k, const struct chunk *c)
{
    u64 means = meaning(k, c->at[0]);
    return (means == COUNTS_INT && !(uint32_t)c->at[1]) || (means == COUNTS_LONG && !~c->at[1]);
}

ALWAYS u64 is_array(const struct chunk *c)
{
    if (c->first != 1 || c->objects < 2 || c->at[0] != c->objects)
        return 0;
    u64 step = c->second - c->first, end = c->first + c->objects * step;
    return c->last == end - step && end <= c->words && c->words < end + 4;
}

ALWAYS u64 kind_of(const struct held *h, const struct kinds *k, u64 word)
{
    if (!word || is_heap(h, word))
        return word ? HEAP : ZERO;
    const struct part *part = part_of(k, word);
    return part ? part->code ? INTO_CODE : DATA : word >> 32 ? OTHER : NUMBER;
}

ALWAYS u64 is_tree_node(const struct held *h, const struct kinds *k, const struct chunk *c)
{
    u64 parent = c->at[1], proven = 0, up[3];
    if (c->words < 5 || (uint32_t)c->at[0] > 1 || (parent | c->at[2] | c->at[3]) & 7)
        return 0;
    u64 kind = kind_of(h, k, parent);
    if (kind < OTHER || kind == INTO_CODE)
        return 0;
    for (u64 i = 2; i < 4; i++) {
        if (c->at[i] && !leads(h, k, c->at[i] + 8, c->user))
            return 0;
        proven |= c->at[i];
    }
    if (read(h, k, parent + 8, up)) {
        u64 right = up[0] == c->user || leads(h, k, parent + 16, c->user) || leads(h, k, parent + 24, c->user);
        return right;
    }
    return proven != 0;
}

ALWAYS u64 is_list_node(const struct held *h, const struct kinds *k, const struct chunk *c)
{
    u64 next = c->at[0], before = c->at[1], size = 8 * c->words;
    return c->words > 2 && next && before && !((next | before) & 7) && next - c->user >= size &&
           before - c->user >= size && leads(h, k, next + 8, c->user) && leads(h, k, before, c->user);
}

/* Tell whether a chunk is the table of a dict of CPython's, by its size (pythons.py).  */
ALWAYS u64 is_dict_table(const struct held *h, const struct kinds *k, const struct chunk *c)
{
    u64 places = c->at[1], log2 = places & 0xff, size = 8 * c->words, page = (u64)1 << h->page_bits;
    if (c->words < 8 || !c->at[0] || c->at[0] >> 31)
        return 0;
    u64 old = !(places & (places - 1)), header = old ? 5 : 4;
    for (log2 = old ? 0 : log2; old && places >> log2 > 1;)
        log2++;
    u64 index = log2 + (log2 >= 8) + (log2 >= 16) + (log2 >= 32);
    u64 odd = old ? !is_code(k, c->at[2]) : (places >> 8 & 0xff) != index || (places >> 16 & 0xff) > 2;
    if (log2 < 3 || log2 > 47 || odd)
        return 0;
    u64 entries = ((u64)2 << log2) / 3, wide = old || !(places >> 16 & 0xff);
    u64 needed = 8 * header + ((u64)1 << index) + entries * (wide ? 24 : 16);
    u64 room = (c->user + size) & (page - 1) ? ROUNDED : ROUNDED + page;
    return c->at[header - 2] <= entries && c->at[header - 1] <= entries - c->at[header - 2] && needed <= size &&
           size - needed < room;
}

/* Return the code of the text that a chunk begins with, and its encoding; 0 if it isn't text.  */
ALWAYS u64 text_of(const struct held *h, const struct kinds *k, const struct chunk *c, u64 *encoding)
{
    u64 whole = 8 * c->words < WINDOW ? 8 * c->words : WINDOW, length;
    if (!(state_of(h, c->region, c->user) & COPIED) || kind_of(h, k, c->at[0]) >= HEAP)
        return 0;
    length = text_in((const uint8_t *)c->at, whole, encoding);
    return !length ? 0 : 2 * length >= whole ? TEXT : BEGINS_WITH_TEXT;
}

ALWAYS u64 signature(const struct held *h, const struct kinds *k, const struct chunk *c)
{
    u64 size = 8 * c->words, value = size <= LARGEST_SIGNED ? size : 0, pointers = 0;
    for (u64 i = 0; i < SIGNED; i++) {
        u64 kind = i < c->words ? kind_of(h, k, c->at[i]) : 0;
        pointers |= kind >= HEAP;
        value = value << 4 | kind;
    }
    return pointers ? value : 0;
}

ALWAYS u64 set(struct key *key, u64 code, u64 value, u64 offset, u64 instances)
{
    key->code = code;
    key->value = value;
    key->offset = offset;
    key->instances = instances;
    return 1;
}

/* Find an object of CPython's.  */
ALWAYS u64 python_key(const struct kinds *k, const struct chunk *c, struct key *key)
{
    for (u64 at = 1; at < 6 && at < c->words; at += 2)
        if (counts_objects(c->at[at - 1]) && meaning(k, c->at[at]) == (at == 1 ? TYPE : TRACKED_TYPE))
            return set(key, PYTHON, c->at[at], 8 * (at - 1), 1);
    return 0;
}

ALWAYS u64 control_key(const struct kinds *k, const struct chunk *c, struct key *key)
{
    u64 means = meaning(k, c->at[0]);
    if (means != COUNTS_INT && means != COUNTS_LONG)
        return 0;
    return set(key, is_dead(k, c) ? DEAD_CONTROL : CONTROL, c->at[0], 0, 1);
}

/* Tell whether two words lead to code: the first two of a coroutine's frame, the last two of a std::function.  */
ALWAYS u64 calls(const struct kinds *k, const struct chunk *c, u64 at)
{
    return c->words > at + 1 && is_code(k, c->at[at]) && is_code(k, c->at[at + 1]);
}

/* Find what a chunk is by the code that its first words lead to.  */
ALWAYS u64 code_key(const struct kinds *k, const struct chunk *c, u64 body, struct key *key)
{
    if (calls(k, c, 0))
        return set(key, FRAME, c->at[0], 0, 1);
    if (body >= FUNCTORS)
        return 0;
    if (is_code(k, c->at[0]))
        return set(key, FUNCTION, c->at[0], 0, 0);
    if (calls(k, c, 2) && !(body == LIKELY_VECTOR && calls(k, c, 6)))
        return set(key, FUNCTION, c->at[3], 16, 0);
    return 0;
}

ALWAYS u64 key_of(const struct held *h, struct kinds *k, struct chunk *c, u64 body, struct key *key)
{
    u64 encoding = 0, code;
    if (!look_at(h, k, c))
        return set(key, UNREAD, 0, 0, 0);
    if (python_key(k, c, key)) {
        if (c->objects)
            place_of(k, c->vtable)->inside += (uint32_t)c->objects;
        return 1;
    }
    if (c->objects)
        return set(key, is_dead(k, c) ? DEAD : is_array(c) ? ARRAY : OBJECT, c->vtable, 8 * c->first, c->objects);
    if (control_key(k, c, key))
        return 1;
    if (body && body != LIKELY_VECTOR && body < FUNCTORS)
        return set(key, body, 0, 0, 0);
    if (code_key(k, c, body, key))
        return 1;
    if (is_tree_node(h, k, c) || is_list_node(h, k, c))
        return set(key, is_tree_node(h, k, c) ? TREE_NODE : LIST_NODE, 0, 0, 0);
    if (is_dict_table(h, k, c))
        return set(key, DICT_TABLE, 0, 0, 0);
    if ((code = text_of(h, k, c, &encoding)))
        return set(key, code, encoding, 0, 0);
    if (body)
        return body < FUNCTORS ? set(key, VECTOR, 0, 0, 0) : set(key, FUNCTOR, k->callers[body - FUNCTORS], 0, 0);
    if (c->zero || c->pointers)
        return set(key, c->zero ? ZEROS : POINTERS, 0, 0, 0);
    if (meaning(k, c->at[0]) == A_SYMBOL)
        return set(key, SYMBOL, c->at[0], 0, 0);
    u64 value = signature(h, k, c);
    return set(key, value ? SIGNATURE : 0, value, 0, 0);
}

/* Return the place of a key among all: of one that there is no room for, that of a key with its code alone.  */
ALWAYS u64 number_of(struct kinds *k, struct key *key)
{
    for (;;) {
        u64 hash = mixed(mixed(mixed(key->value) + key->offset) + key->group + (key->code << 48));
        for (u64 at = hash & (k->key_slot_count - 1);; at = (at + 1) & (k->key_slot_count - 1)) {
            if (!k->key_slots[at] && (k->key_count < k->most_keys || !(key->value | key->offset | key->group % LIBC))) {
                struct key *new = k->keys + k->key_count;
                k->key_slots[at] = (uint32_t)++k->key_count;
                set(new, key->code, key->value, key->offset, 0);
                new->group = key->group;
            } else if (!k->key_slots[at])
                break;
            struct key *found = k->keys + k->key_slots[at] - 1;
            if (found->code == key->code && found->value == key->value && found->offset == key->offset &&
                found->group == key->group)
                return k->key_slots[at] - 1;
        }
        key->value = key->offset = 0;
        key->group -= key->group % LIBC;
    }
}

/* Add what of [start, end) is in memory, and in swap.  */
ALWAYS void add_memory(const struct held *h, const struct region *r, u64 start, u64 end, struct key *key)
{
    for (u64 next; start < end; start = next) {
        u64 state = state_of(h, r, start) % STATES;
        next = (start & -((u64)1 << h->page_bits)) + ((u64)1 << h->page_bits);
        next = next < end ? next : end;
        key->resident += state == RESIDENT || state == SHARED ? next - start : 0;
        key->swapped += state == SWAPPED ? next - start : 0;
    }
}

ALWAYS void add(const struct held *h, struct kinds *k, const struct chunk *c, u64 rank, struct key *key)
{
    u64 start = c->region->chunk ? c->region->start : c->header;
    key->group = k->group | (k->sizes ? c->bytes : 0);
    u64 number = number_of(k, key);
    struct key *sum = k->keys + number;
    if (sum->chunks < SAMPLES)
        sum->samples[sum->chunks] = c->user;
    sum->chunks++;
    sum->bytes += c->bytes;
    sum->instances += key->instances;
    if (k->paged)
        add_memory(h, c->region, start, start + c->bytes, sum);
    k->kinds[rank] = (uint32_t)number;
}

/* Take up a chunk; return whether its memory is at hand.  */
ALWAYS u64 take(const struct found *f, struct chunk *c)
{
    const struct region *r = f->region;
    c->region = r;
    c->header = f->chunk;
    c->user = f->chunk + HEADER;
    c->words = (memory_end(r, f->chunk) - c->user) / 8;
    c->bytes = bytes_of(r, f->chunk);
    c->at = (const u64 *)(r->copy + (c->user - r->start));
    c->objects = c->vtable = c->first = c->second = c->last = 0;
    c->zero = c->pointers = 1;
    return r->copy && c->words > 1;
}

/* Let memory come that a chunk's first word leads to, where that may be the next node of a list: it is a read in
   random order, which would be waited for.  */
ALWAYS void foresee(const struct held *h, const struct found *f)
{
    u64 address = f->region->copy ? word_at(f->region, f->chunk + HEADER) : 0;
    const struct region *r = address & 7 ? 0 : region_of(h, address);
    if (r && r->copy)
        __builtin_prefetch(r->copy + (address - r->start));
}

/* Classify up to `steps` chunks of the region that a cursor is in; return how many that were.  */
EXPORT u64 heapx_classify(const struct held *h, struct kinds *k, struct cursor *at, u64 steps)
{
    u64 region = at->region, done = 0, ahead = 0;
    struct cursor coming = *at;
    struct found f;
    for (struct chunk c; done < steps && next(h, at, &f) && at->region == region; done++) {
        for (struct found later; ahead < done + AHEAD && next(h, &coming, &later); ahead++)
            foresee(h, &later);
        struct key key;
        if (take(&f, &c))
            key_of(h, k, &c, k->bodies ? k->bodies[f.rank] : 0, &key);
        else
            set(&key, UNREAD, 0, 0, 0);
        add(h, k, &c, f.rank, &key);
    }
    return done;
}

/* Learn which words of up to `steps` chunks of a region lead to data of files; return how many chunks that were.  */
EXPORT u64 heapx_learn(const struct held *h, struct kinds *k, struct cursor *at, u64 steps)
{
    u64 region = at->region, done = 0;
    struct found f;
    for (struct chunk c; done < steps && next(h, at, &f) && at->region == region; done++) {
        u64 words = take(&f, &c) ? c.words : 0;
        for (u64 from = 0, end; from < words; from = end) {
            end = piece_end(h, &c, from);
            u64 copied = state_of(h, c.region, c.user + 8 * from) & COPIED;
            for (u64 i = copied ? from : end; i < end; i++)
                learn(k, c.at[i], !i);
        }
    }
    return done;
}

/* Let the words through whose meaning is known by now, and addresses of the files' parts.  */
EXPORT void heapx_know(struct kinds *k) { know(k); }

/* Find up to `room` chunks of a kind, from a cursor on: where their memory begins.  Return how many.  */
EXPORT u64 heapx_of_kind(const struct held *h, const struct kinds *k, struct cursor *at, u64 kind, u64 *found, u64 room)
{
    u64 count = 0;
    for (struct found f; count < room && next(h, at, &f);)
        if (k->kinds[f.rank] == kind)
            found[count++] = f.chunk + HEADER;
    return count;
}

EXPORT u64 heapx_kinds_size(void) { return sizeof(struct kinds); }
