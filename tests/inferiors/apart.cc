/* Containers in chunks whose memory lies far behind these. What they have allocated goes to "known", by what heapx types
   calls it: `chunks NUMBER NAME`. */
#define _Noreturn [[noreturn]]
#include "checkpoint.h"

#include <deque>
#include <string>
#include <unordered_map>

enum { SETS = 100, NODES = 20, APART = 20000 };

struct Set {
	std::string text;
	std::deque<long> deque;
	std::unordered_map<int, int> hashed;
};

static Set *sets[SETS];
static void *others[APART];

int main()
{
	for (Set *&each : sets)
		each = new (malloc(sizeof *each)) Set; /* a deque has memory from the beginning */
	for (void *&each : others)
		each = memset(malloc(200), 1, 200);
	for (Set *each : sets)
		each->text.assign(300, 'x');
	for (Set *each : sets)
		for (int i = 0; i < 500; i++)
			each->deque.push_back(-i);
	for (Set *each : sets) {
		each->hashed.reserve(NODES);
		for (int i = 0; i < NODES; i++)
			each->hashed[i] = i;
	}
	known("chunks %d string body\n", SETS);
	known("chunks %d deque map\n", SETS);
	known("chunks %d deque block\n", SETS * 8);
	known("chunks %d hash buckets\n", SETS);
	known("chunks %d hash node\n", SETS * NODES);
	checkpoint();
}
