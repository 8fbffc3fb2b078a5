/* The words of chunks in use that lead to chunks in use, one after the other: leads.py is the definition.  */

#include "../held/held.h"

enum { WORD = 8, LINKS = 4 };

/* Tell whether a word that leads to a chunk leads to the header behind it: where malloc keeps its links that is an old
   one, and no pointer to the chunk, though its memory ends there.  */
ALWAYS u64 leads_behind(const struct found *to, u64 word)
{
    return !to->begins && !to->region->chunk && word + TAIL == memory_end(to->region, to->chunk);
}

/* Return up to where the words of a region are at hand from `at` on, which goes to the first such page; `end` if
   that is before.  */
ALWAYS u64 at_hand(const struct held *h, const struct region *r, u64 *at, u64 end)
{
    u64 page = (u64)1 << h->page_bits;
    for (u64 stop; *at < end; *at = stop) {
        stop = end - *at > page - *at % page ? (*at & -page) + page : end;
        if (!r->pages || r->pages[(*at >> h->page_bits) - (r->start >> h->page_bits)] & COPIED)
            return stop;
    }
    return end;
}

/* What waits for memory that is being fetched: a word, until the index has it; then the chunk that it leads to, until
   what is noted of that has come, 1 << `width` bytes by rank in `marks`.  `note` is what whoever takes the chunk wants to know of
   where the word is from; but the lowest bit is set where malloc keeps its links.  */
enum { AHEAD = 8 };
struct ahead {
    const uint8_t *marks;
    u64 width, words_turn, chunks_turn;
    struct { u64 word, note; } words[AHEAD];
    struct { struct found to; u64 note; } chunks[AHEAD];
};

/* Takes a chunk that a word leads to.  */
typedef void taking(void *x, const struct found *to, u64 note);

/* Let a chunk wait, or nothing; take the one that has waited longest.  */
ALWAYS void wait_for(void *x, struct ahead *a, const struct found *to, u64 note, taking *take)
{
    u64 turn = a->chunks_turn++ % AHEAD, before_note = a->chunks[turn].note;
    struct found before = a->chunks[turn].to;
    a->chunks[turn].to = *to;
    a->chunks[turn].note = note;
    if (to->region)
        __builtin_prefetch(a->marks + (to->rank << a->width));
    if (before.region)
        take(x, &before, before_note >> 1);
}

/* Look up a word in the index.  */
ALWAYS void look_up(const struct held *h, void *x, struct ahead *a, u64 word, u64 note, taking *take)
{
    struct found to;
    if (word && find(h, word, 1, &to) && !(note & 1 && leads_behind(&to, word)))
        wait_for(x, a, &to, note, take);
}

/* Let a word wait that may lead to a chunk; look up the one that has waited longest.  */
ALWAYS void follow(const struct held *h, void *x, struct ahead *a, u64 word, u64 note, taking *take)
{
    const struct region *r = region_of(h, word);
    if (!r)
        return;
    if (!r->chunk)
        __builtin_prefetch(r->cells + (word - r->start) / GRAIN / CELL);
    u64 turn = a->words_turn++ % AHEAD, before = a->words[turn].word, before_note = a->words[turn].note;
    a->words[turn].word = word;
    a->words[turn].note = note;
    look_up(h, x, a, before, before_note, take);
}

/* Take all that waits, what has waited longest first.  */
ALWAYS void settle(const struct held *h, void *x, struct ahead *a, taking *take)
{
    struct found none = {0, 0, 0, 0};
    for (u64 i = 0; i < AHEAD; i++) {
        u64 turn = a->words_turn++ % AHEAD, word = a->words[turn].word;
        a->words[turn].word = 0;
        look_up(h, x, a, word, a->words[turn].note, take);
    }
    for (u64 i = 0; i < AHEAD; i++)
        wait_for(x, a, &none, 0, take);
}

/* Follow all words of a chunk, with a note on them.  */
ALWAYS void follow_all(const struct held *h, void *x, struct ahead *a, const struct found *chunk, u64 note,
                       taking *take)
{
    const struct region *r = chunk->region;
    u64 at = chunk->chunk + HEADER, end = memory_end(r, chunk->chunk) & -(u64)WORD, links = at + LINKS * WORD;
    while (r->copy && at < end)
        for (u64 stop = at_hand(h, r, &at, end); at < stop; at += WORD) {
            u64 word = word_at(r, at);
            if (word - h->low < h->high - h->low)
                follow(h, x, a, word, note << 1 | (at < links), take);
        }
}

/* Find a chunk that is too large to be copied whole, in a region of its own whose `copy` has what is at hand of it;
   return whether there is one.  */
ALWAYS u64 find_large(const struct held *h, u64 address, const uint8_t *copy, struct found *chunk, struct region *own)
{
    if (!find(h, address, 1, chunk))
        return 0;
    *own = *chunk->region;
    own->copy = copy;
    chunk->region = own;
    return 1;
}

/* Fetch a chunk's memory that is looked through soon.  */
ALWAYS void fetch(const struct held *h, u64 address)
{
    const struct region *r = region_of(h, address);
    if (r && r->copy)
        __builtin_prefetch(r->copy + (address - r->start));
}
