/* What fills a heap, cell by cell: cells.py is the definition.  */

enum { IN_USE, TCACHE, FAST, BINNED, OVERHEAD = 5, FILLS = 7 }; /* what may fill a cell, and how many there are */

/* Cells of 1 << bits bytes, from the one with this number on: FILLS amounts each, null if they aren't wanted.  What
   is on the last `page` is in `filled`, and not in its cell yet.  */
struct cells { struct amount *amounts; u64 bits, first, page, filled[FILLS]; };

/* Add what is on the last page to its cell: it is in memory as the page is, in this state.  */
ALWAYS void end_page(struct cells *c, u64 page_bits, u64 state)
{
    struct amount *cell = c->amounts + ((c->page << page_bits >> c->bits) - c->first) * FILLS;
    for (u64 i = 0; i < FILLS; i++) {
        u64 size = c->filled[i];
        cell[i].bytes += size;
        cell[i].resident += state == RESIDENT || state == SHARED ? size : 0;
        cell[i].swapped += state == SWAPPED ? size : 0;
        cell[i].shared += state == SHARED ? size : 0;
        c->filled[i] = 0;
    }
}
