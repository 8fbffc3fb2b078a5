/* A main arena in three pieces: the program has moved the break itself, twice, between allocations. */
#include "checkpoint.h"

enum { PIECES = 3, CHUNKS = 500 };

int main(void)
{
	static void *chunks[PIECES][CHUNKS];
	uint64_t seed = 1;

	for (int piece = 0; piece < PIECES; piece++) {
		if (piece)
			sbrk(3 * sysconf(_SC_PAGESIZE) + 123);
		for (int i = 0; i < CHUNKS; i++)
			chunks[piece][i] = malloc(between(&seed, 16, 8000));
	}
	for (int piece = 0; piece < PIECES; piece++)
		for (int i = 0; i < CHUNKS; i += 2)
			free(chunks[piece][i]);
	known("gaps %d\n", PIECES - 1);
	checkpoint();
}
