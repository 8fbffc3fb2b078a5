/* The lists of a tcache, followed in a copy of the memory around it: Links.chains of links.py is the definition.  No
   word of the process is trusted: each read of `words` is within `count`, and no more than `room` chunks are kept.  */

#include <stdint.h>

typedef uint64_t u64;
#define EXPORT __attribute__((visibility("default")))

enum { SIZE = 1, FD, HEADER = 16, FLAGS = 7 };
enum { GRAIN = 16, BUCKET = 1 << 20 /* bytes that chunks are kept by (places.py) */ };

/* Where a list begins, how many chunks it should have, and the size of each (Chain of links.py).  */
struct chain { u64 first, length, size; };

/* Follow lists as far as their chunks lie in `words`, from `base` on.  Links are mangled with where they lie, shifted
   by so many bits.  Keep the chunks of the lists that are as they should be; the length of each other one becomes 0.
   Return how many chunks that are.  */
EXPORT u64 heapx_chains(const u64 *words, u64 count, u64 base, u64 mangled, struct chain *lists, u64 number, u64 *chunks,
                        u64 room)
{
    u64 kept = 0;
    for (struct chain *list = lists; list < lists + number; list++) {
        u64 user = list->first, found = 0;
        for (; found < list->length && kept + found < room; found++) {
            u64 chunk = user - HEADER, index = (chunk - base) >> 3;
            if (chunk & 7 || index >= count || count - index <= FD || list->size >> 3 > count - index ||
                (words[index + SIZE] & ~(u64)FLAGS) != list->size)
                break;
            chunks[kept + found] = chunk;
            user = words[index + FD] ^ (mangled < 64 ? user >> mangled : 0);
        }
        list->length = found == list->length && !user ? found : 0;
        kept += list->length;
    }
    return kept;
}

/* Put chunks of a bucket in order, each once: those of [start, end), which lie at `offsets` from `base` on.  Return how
   many that are; UINT64_MAX where one lies where no chunk can.  */
EXPORT u64 heapx_upwards(const uint32_t *offsets, u64 count, u64 base, u64 start, u64 end, u64 *chunks)
{
    u64 marks[BUCKET / GRAIN / 64], kept = 0;
    for (u64 i = 0; i < BUCKET / GRAIN / 64; i++)
        marks[i] = 0;
    for (u64 i = 0; i < count; i++) {
        if (offsets[i] % GRAIN || offsets[i] >= BUCKET)
            return UINT64_MAX;
        marks[offsets[i] / GRAIN / 64] |= (u64)1 << offsets[i] / GRAIN % 64;
    }
    for (u64 i = 0; i < BUCKET / GRAIN / 64; i++)
        for (u64 left = marks[i]; left; left &= left - 1) {
            u64 chunk = base + (64 * i + (u64)__builtin_ctzll(left)) * GRAIN;
            if (chunk >= start && chunk < end)
                chunks[kept++] = chunk;
        }
    return kept;
}
