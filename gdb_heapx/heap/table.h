/* Tables of free chunks that a walk fills, to join lists from: table.py has what it makes of them.  */

enum { AT, NEXT, BACK, UNITS, HEADS = 127 }; /* a table's cells in a row */

/* Chunks that may hang in lists, a row each from 1 on: where they lie, their links, and their sizes, where
   not all are of one `size`, in units of 16 bytes, from `base` on.  Links to `heads` of bins, and elsewhere
   than to `places` of chunks, are numbers above these.  `latest` has the last row of each 1 << part.  */
struct table {
    u64 base, places, heads, part, width, room, count, size;
    uint32_t *rows, *latest, at[2], behind[2]; /* how far the two ends of a list are joined */
};

ALWAYS uint32_t placed(const struct table *t, u64 address)
{
    u64 place = address - t->base, head = address - t->heads;
    if (head < 16 * HEADS && !(head & 15))
        return UINT32_MAX - 1 - head / 16;
    return place & 15 || place / 16 >= t->places ? UINT32_MAX : place / 16;
}

ALWAYS void keep(struct table *t, u64 chunk, u64 size, u64 fd, u64 bk)
{
    if (!t || t->count >= t->room || placed(t, chunk) >= t->places)
        return;
    uint32_t cells[] = {placed(t, chunk), placed(t, fd), placed(t, bk), size / 16};
    t->latest[cells[AT] >> t->part] = ++t->count;
    for (u64 i = 0; i < t->width; i++)
        t->rows[t->count * t->width + i] = cells[i];
}

/* Return the row of a chunk, null without.  */
ALWAYS uint32_t *row_of(const struct table *t, uint32_t at)
{
    uint32_t *row = t->rows + (at < t->places ? t->latest[at >> t->part] : 0) * t->width;
    while (row[AT] > at)
        row -= t->width;
    return row > t->rows && row[AT] == at ? row : 0;
}
