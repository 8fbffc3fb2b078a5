/* How free chunks hang together, added up: LinkSums of folds.py is the definition.  */

struct links { u64 chunks, fds, bks, twist; };

#define M61 (((u64)1 << 61) - 1) /* a prime: sums modulo it, as folds.py has them */
ALWAYS u64 modulo(unsigned __int128 x)
{
    u64 sum = ((u64)x & M61) + ((u64)(x >> 61) & M61) + (u64)(x >> 122);
    sum = (sum & M61) + (sum >> 61);
    return sum >= M61 ? sum - M61 : sum;
}

ALWAYS u64 product(u64 a, u64 b) { return modulo((unsigned __int128)a * b); }
ALWAYS u64 less(u64 a, u64 b) { return a >= b ? a - b : a + M61 - b; }
ALWAYS u64 more(u64 a, u64 b) { return less(a, b ? M61 - b : 0); }

ALWAYS void add(struct links *sums, u64 chunk, u64 fd, u64 bk)
{
    sums->chunks += chunk;
    sums->fds += fd;
    sums->bks += bk;
    sums->twist = more(sums->twist, product(chunk, less(product(fd, fd), product(bk, chunk))));
}
