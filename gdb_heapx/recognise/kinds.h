/* Words that lead into a target's files, what they mean, and the keys that chunks get: declared.py has the structs,
   kinds.py the numbers.  */

enum { OBJECT = 1, DEAD, ARRAY, CONTROL, DEAD_CONTROL, PYTHON, FRAME, FUNCTION, VECTOR = 10, TREE_NODE = 15, LIST_NODE,
       TEXT, BEGINS_WITH_TEXT, ZEROS, POINTERS, SYMBOL, SIGNATURE, UNREAD = 24, LIKELY_VECTOR, STREAM, FUNCTOR,
       DICT_TABLE, FUNCTORS = 64 };
enum { VTABLE = 1, SECOND, COUNTS_INT, COUNTS_LONG, TYPE, TRACKED_TYPE, A_SYMBOL, FIRST = 1 << 16 };
enum { ZERO = 1, NUMBER, OTHER, HEAP, DATA, INTO_CODE, SIGNED = 4, LARGEST_SIGNED = 1024 }; /* of a signature */
enum { SAMPLES = 3, AHEAD = 12, FILTER = 1 << 15 };
#define LIBC ((u64)1 << 56)

/* A part of a file in memory.  */
struct part { u64 start, end, code; };

/* A word that leads to a file's data, or to a type object; what it means, FIRST if a chunk begins with it; and how
   many objects of its class lie in chunks that are of another one.  */
struct known { u64 value; uint32_t meaning, inside; };

struct key {
    u64 code, value, offset, group, chunks, bytes, instances, resident, swapped, samples[SAMPLES];
};

/* Given are the files' parts; the words of roots that lead to chunks, by where they lie, and where they lead; room
   for known words, as a table of `slots` of which `most` may be taken, and for keys, of which `most_keys` may have a
   value; what each chunk is for a container that leads to it, by rank (0: nothing; from FUNCTORS on what one of the
   `callers` calls); a `group` that all keys get, a multiple of LIBC, whether the chunks' sizes are added to it, and
   whether page states are known.  Found are known words, keys, and by rank which key each chunk has.  */
struct kinds {
    const struct part *parts;
    u64 part_count;
    const u64 *root_at, *root_to;
    u64 root_count;
    struct known *known;
    u64 slots, known_count, most;
    struct key *keys;
    u64 key_count, most_keys;
    uint32_t *key_slots;
    u64 key_slot_count;
    uint32_t *kinds;
    const uint16_t *bodies;
    const u64 *callers;
    u64 group, sizes, paged;
    u64 part_filter[FILTER / 64], known_filter[FILTER / 64];
};

ALWAYS u64 mixed(u64 x)
{
    x *= 0x9e3779b97f4a7c15;
    return x ^ x >> 29;
}

ALWAYS u64 passes(const u64 *filter, u64 bit) { return filter[bit / 64] >> bit % 64 & 1; }

ALWAYS const struct part *part_of(const struct kinds *k, u64 address)
{
    if (!passes(k->part_filter, mixed(address >> BLOCK_BITS) % FILTER))
        return 0;
    const struct part *first = k->parts;
    for (u64 count = k->part_count; count > 1;) {
        u64 half = count / 2;
        first += address >= first[half].start ? half : 0;
        count -= half;
    }
    return address >= first->start && address < first->end ? first : 0;
}

ALWAYS u64 is_code(const struct kinds *k, u64 address)
{
    const struct part *part = part_of(k, address);
    return part && part->code;
}

/* Return the place in the table that a word has, or would get.  */
ALWAYS struct known *place_of(const struct kinds *k, u64 value)
{
    u64 at = mixed(value) & (k->slots - 1);
    while (k->known[at].value && k->known[at].value != value)
        at = (at + 1) & (k->slots - 1);
    return k->known + at;
}

ALWAYS u64 meaning(const struct kinds *k, u64 value)
{
    return value && passes(k->known_filter, mixed(value) % FILTER) ? place_of(k, value)->meaning : 0;
}

/* Take in a word that leads to data of a file, as long as there is room.  */
ALWAYS void learn(struct kinds *k, u64 word, u64 first)
{
    const struct part *part = word & 7 ? 0 : part_of(k, word);
    if (!part || part->code)
        return;
    struct known *known = place_of(k, word);
    if (!known->value && k->known_count == k->most)
        return;
    k->known_count += !known->value;
    known->value = word;
    known->meaning |= first ? FIRST : 0;
}

ALWAYS void mark(u64 *filter, u64 value) { filter[mixed(value) % FILTER / 64] |= (u64)1 << mixed(value) % 64; }

ALWAYS void know(struct kinds *k)
{
    for (u64 i = 0; i < k->slots; i++)
        if (k->known[i].meaning)
            mark(k->known_filter, k->known[i].value);
    for (u64 i = 0; i < k->part_count; i++)
        for (u64 block = k->parts[i].start >> BLOCK_BITS; block <= (k->parts[i].end - 1) >> BLOCK_BITS; block++)
            mark(k->part_filter, block);
}
