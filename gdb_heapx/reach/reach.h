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

/* Let `take` have each chunk that a word leads to.  */
typedef void taking(const struct held *h, void *x, const struct found *to);

ALWAYS void follow(const struct held *h, void *x, u64 word, u64 is_link, taking *take)
{
    struct found to;
    if (word - h->low < h->high - h->low && find(h, word, 1, &to) && !(is_link && leads_behind(&to, word)))
        take(h, x, &to);
}

/* The same for all words of a chunk.  */
ALWAYS void follow_all(const struct held *h, void *x, const struct found *chunk, taking *take)
{
    const struct region *r = chunk->region;
    u64 at = chunk->chunk + HEADER, end = memory_end(r, chunk->chunk) & -(u64)WORD, links = at + LINKS * WORD;
    while (r->copy && at < end)
        for (u64 stop = at_hand(h, r, &at, end); at < stop; at += WORD)
            follow(h, x, word_at(r, at), at < links, take);
}
