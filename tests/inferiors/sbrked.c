/* Memory that the program takes with sbrk: f before malloc's first chunk, b between its chunks, a behind them. */
#include "checkpoint.h"

enum { SIZE = 8 << 20 };

static void take(char where)
{
	char *memory = sbrk(SIZE + 123);
	memset(memory, where, SIZE);
	known("taken %c %p %d\n", where, (void *) memory, SIZE);
}

int main(int argc, char **argv)
{
	const char *places = argc > 1 ? argv[1] : "fba";

	if (strchr(places, 'f'))
		take('f');
	for (int i = 0; i < 20; i++)
		malloc(50000);
	if (strchr(places, 'b'))
		take('b');
	for (int i = 0; i < 20; i++)
		malloc(50000);
	if (strchr(places, 'a'))
		take('a');
	checkpoint();
}
