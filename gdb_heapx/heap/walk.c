/* The compiled walk: what of the walk over a heap's chunks costs most.  library.py loads it.

   It is freestanding and needs no symbol of any library, so one binary per architecture runs under
   every libc and every Python.  scripts/build_walk compiles it.  */

#include <stdint.h>

#define EXPORT __attribute__ ((visibility ("default")))

/* The number of this interface: what calls it has the same one (ABI in library.py).  */
EXPORT uint64_t heapx_abi (void) { return 1; }

/* Return the sum of words, modulo 2^64, and clear them: a compiler knows a loop that it would make a
   call of memset.  */
EXPORT uint64_t heapx_sum (uint64_t *words, uint64_t count)
{
  uint64_t sum = 0;
  for (uint64_t i = 0; i < count; i++)
    sum += words[i];
  for (uint64_t i = 0; i < count; i++)
    words[i] = 0;
  return sum;
}
