/* Pointers that aren't words as they stand: hidden.py is the definition.  */

/* How memory may have them: every `step` bytes a word (0: none), of which `mask` are an address; and `compressed` ones,
   32 bits that are shifted and added to `base`.  */
struct way { u64 step, mask, compressed, base, shift; };

/* Memory that is looked at, in a way: of its `size` bytes `from` a word on, what begins at `at`, and 32 bits at `half`,
   up to `stop`; and the `word` that was found.  */
struct hidden { const struct way *way; const uint8_t *from; u64 size, at, half, stop, word; };

struct __attribute__((packed)) any_word { u64 value; };
struct __attribute__((packed)) any_half { uint32_t value; };

ALWAYS u64 is_near(const struct held *h, u64 word) { return word - h->low < h->high - h->low; }

/* Find the next word that leads near to chunks, but for those that do as they stand; and of compressed ones those that
   lead to where the memory of a chunk begins: every small number leads somewhere.  Return whether there is one.  */
ALWAYS u64 find_hidden(const struct held *h, struct hidden *x)
{
    const struct way *w = x->way;
    struct found f;
    while (w->step && x->at < x->stop && x->at + 8 <= x->size) {
        u64 stored = ((const struct any_word *)(x->from + x->at))->value, plain = !(x->at % 8) && stored <= w->mask;
        x->at += w->step;
        x->word = stored & w->mask;
        if (!plain && is_near(h, x->word))
            return 1;
    }
    while (w->compressed && x->half < x->stop && x->half + 4 <= x->size) {
        u64 value = ((const struct any_half *)(x->from + x->half))->value;
        x->half += 4;
        x->word = w->base + (value << w->shift);
        if (value && find(h, x->word, 0, &f))
            return 1;
    }
    return 0;
}
