/* Containers of the standard library as variables of files and threads, on stacks, in mapped memory, and streams' buffers
   that look like one's. What they have allocated goes to "known", by what heapx types calls it: `chunks NUMBER NAME`.
   `chunk ADDRESS NAME` is what a chunk is that a container had which is over, whose words are still on a stack. */
#define _Noreturn [[noreturn]]
#include "checkpoint.h"

#include <deque>
#include <fstream>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <unordered_map>
#include <unordered_set>
#include <vector>

struct Plain { /* without a vtable */
	long values[6] = { -1, -2, -3, -4, -5, -6 };
};

template <class T> static long blocks_of(const std::deque<T> &deque)
{
	long blocks = 1;
	for (auto i = deque.begin() + 1; i != deque.end(); ++i)
		blocks += &*i != &*(i - 1) + 1;
	return blocks;
}

/* Some of each kind, wherever it lies. */
struct Kept {
	enum { PLACES = 5, NODES = 50 };
	std::vector<long> small;
	std::vector<int> large;
	std::string text, zeros;
	std::deque<long> deque;
	std::unordered_map<int, int> hashed;

	__attribute__((noinline)) void fill()
	{
		for (int i = 0; i < 5; i++)
			small.push_back(-i);
		large.resize(1000, -1);
		text.assign(40, 'x');
		zeros.assign(5000, '\0');
		for (int i = 0; i < 150; i++)
			deque.push_back(-i);
		for (int i = 0; i < NODES; i++)
			hashed[i] = i;
	}
};

static thread_local Kept of_thread;
static pthread_barrier_t barrier;

static void *thread(void *)
{
	Kept local;
	local.fill();
	of_thread.fill();
	park(&barrier);
}

/* What a container leaves behind on a stack when it is over. */
struct Left {
	long words[8];

	template <class T> __attribute__((noinline)) void keep(const T &container)
	{
		memcpy(words, &container, sizeof container < sizeof words ? sizeof container : sizeof words);
	}
};

__attribute__((noinline)) static void be_over(Left *vector, Left *nodes, Left *string)
{
	std::vector<long> numbers(70), three(3);
	std::string text(333, 'x');
	vector->keep(numbers);
	nodes->keep(three);
	string->keep(text);
}

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
static const char *const program = "/proc/self/exe"; /* of more bytes than a buffer has */
static std::ifstream reads(program);

int main()
{
	Left vector_left, nodes_left, string_left;
	Kept kept, *mapped = new (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) Kept;
	be_over(&vector_left, &nodes_left, &string_left);
	std::list<int> of_left(1); /* three words, again */
	char *text_now = strcpy((char *) malloc(70 * sizeof(long)), "text that is now where the numbers were");
	memset(text_now + 40, 0, 70 * sizeof(long) - 40);
	void *zeros_now = memset(malloc(334), 0, 334);
	kept.fill();
	of_thread.fill();
	mapped->fill();
	pthread_t other;
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&other, NULL, thread, NULL);
	pthread_barrier_wait(&barrier);
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
	std::ifstream local_reads(program), *new_reads = new std::ifstream(program);
	reads.get();
	local_reads.get();
	new_reads->get();
	struct {
		std::vector<int>::iterator end, begin;
		std::vector<int> vector = std::vector<int>(300, -1);
		std::vector<int>::iterator again;
	} near;
	near.begin = near.again = near.vector.begin();
	near.end = near.vector.end();
	FILE *file = fopen("/dev/null", "w");
	fprintf(file, "buffered");
	known("chunks %d string body\n", 2001 + 2 * Kept::PLACES); /* of strings, set and text */
	known("chunks %d vector body\n", 3 + 2 * Kept::PLACES);
	known("chunks 2003 tree node\n");
	known("chunks 1002 list node\n");
	known("chunks %d deque map\n", 1 + Kept::PLACES);
	known("chunks %ld deque block\n", blocks_of(deque) + Kept::PLACES * blocks_of(kept.deque));
	known("chunks %d hash node\n", 2000 + Kept::PLACES * Kept::NODES);
	known("chunks %d hash buckets\n", 2 + Kept::PLACES);
	known("chunk %#lx list node\n", nodes_left.words[0]);
	known("chunk %#lx begins with text, ASCII\n", vector_left.words[0]);
	known("chunk %#lx zeros\n", string_left.words[0]);
	if (text_now != (void *) vector_left.words[0] || zeros_now != (void *) string_left.words[0] ||
	    &of_left.front() != (int *) nodes_left.words[0] + 4)
		abort();
	known("chunks 1 Plain of make_shared\n");
	known("chunks 1 Plain of make_shared (dead)\n");
	known("chunks 1 control block of Plain\n");
	checkpoint();
	return local.size() + alone.size() + *near.again;
}
