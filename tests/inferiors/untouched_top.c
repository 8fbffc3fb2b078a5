/* A few hundred chunks, some freed, below a top of 256 MiB that was never touched. */
#include "checkpoint.h"

enum { CHUNKS = 400 };

int main(void)
{
	void *chunks[CHUNKS];
	uint64_t seed = 1;

	mallopt(M_TOP_PAD, 256 << 20);
	for (int i = 0; i < CHUNKS; i++)
		chunks[i] = malloc(between(&seed, 16, 4000));
	for (int i = 0; i < CHUNKS; i += 3)
		free(chunks[i]);
	checkpoint();
}
