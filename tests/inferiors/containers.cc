/* Containers of the standard library as variables, and streams' buffers that look like one's. What they have allocated
   goes to "known", by what heapx types calls it: `chunks NUMBER NAME`. */
#define _Noreturn [[noreturn]]
#include "checkpoint.h"

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

struct Plain { /* without a vtable */
	long values[6] = { -1, -2, -3, -4, -5, -6 };
};

static std::vector<int> vector;
static std::vector<std::string> strings;
static std::string text;
static std::map<int, int> map;
static std::set<std::string> set;
static std::list<int> list;
static std::deque<long> deque;
static std::unordered_map<int, int> hashed;
static std::unordered_set<std::string> hashed_strings;
static std::shared_ptr<Plain> made, owned;
static std::weak_ptr<Plain> left;
static std::stringstream *stream;

int main()
{
	std::map<int, int> local; /* its head is on the stack */
	local[1] = local[2] = local[3] = 4;
	std::list<int> alone(1);
	for (int i = 0; i < 1000; i++) {
		vector.push_back(-i);
		strings.push_back(std::string(30 + i % 10, 'x'));
		text += "some text ";
		map[i * 7 % 1000] = i;
		set.insert(std::to_string(i) + " is a string of its own");
		list.push_back(i);
		deque.push_back(-i);
		hashed[i] = i;
		hashed_strings.insert(std::to_string(i));
	}
	for (int i = 0; i < 100; i++)
		deque.pop_front();
	made = std::make_shared<Plain>();
	owned = std::shared_ptr<Plain>(new Plain);
	left = std::make_shared<Plain>();
	stream = new std::stringstream;
	for (int i = 0; i < 500; i++)
		*stream << "number " << i << "\n";
	FILE *file = fopen("/dev/null", "w");
	fprintf(file, "buffered");
	long blocks = 1;
	for (auto i = deque.begin() + 1; i != deque.end(); ++i)
		blocks += &*i != &*(i - 1) + 1;
	known("chunks 2001 string body\n"); /* of strings, set and text */
	known("chunks 2 vector body\n");
	known("chunks 2003 tree node\n");
	known("chunks 1001 list node\n");
	known("chunks 1 deque map\n");
	known("chunks %ld deque block\n", blocks);
	known("chunks 2000 hash node\n");
	known("chunks 2 hash buckets\n");
	known("chunks 1 Plain of make_shared\n");
	known("chunks 1 Plain of make_shared (dead)\n");
	known("chunks 1 control block of Plain\n");
	checkpoint();
	return local.size() + alone.size();
}
