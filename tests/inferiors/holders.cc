/* Variables that hold known amounts, alone or together. What the program knows goes to "known":

     holder KIND TID CHUNKS BYTES SHARED_CHUNKS SHARED_BYTES NAME
         what would be unreachable without the variable, and what it holds together with others; KIND is global, tls or
         stack, TID the thread of the latter two, else 0
     variable ADDRESS SIZE NAME
         where a global one lies
     unreachable CHUNKS BYTES
     node LINKS ADDRESS NAME
         a chunk so many pointers away from the variable

   Bytes are those of chunks. */
#define _Noreturn [[noreturn]]
#include "checkpoint.h"
#include "scrub.h"

#include <map>
#include <string>
#include <vector>

struct Amount {
	long chunks = 0, bytes = 0;

	template <class T> T *add(T *chunk)
	{
		chunks++;
		bytes += malloc_usable_size((void *) chunk) + sizeof(size_t);
		return chunk;
	}
};

static void tell(const char *kind, long tid, Amount alone, Amount shared, const char *name)
{
	known("holder %s %ld %ld %ld %ld %ld %s\n", kind, tid, alone.chunks, alone.bytes, shared.chunks, shared.bytes, name);
}

template <class T> static void tell(const T &variable, Amount alone, Amount shared, const char *name)
{
	tell("global", 0, alone, shared, name);
	known("variable %p %zu %s\n", (const void *) &variable, sizeof variable, name);
}

struct Node {
	Node *next;
	long payload[12];
};

static Node *a_list(long nodes, Amount &amount, Node *behind = nullptr)
{
	for (long i = 0; i < nodes; i++) {
		Node *node = amount.add(static_cast<Node *>(malloc(sizeof(Node))));
		memset(node->payload, -1, sizeof node->payload);
		node->next = behind;
		behind = node;
	}
	return behind;
}

namespace shop {

struct Order {
	long number = -1;
	virtual ~Order() {}
	virtual long total() { return number; }
};

struct Entry {
	std::string body;
};

std::map<long, Entry> cache;
std::vector<Order *> orders;
Node *list;
Node *table[8];

struct Queue {
	Node *own, *common;
} left_queue, right_queue;

struct Registry {
	static Node *all;
};

Node *Registry::all;

} // namespace shop

thread_local Node *volatile session;

__attribute__((noinline)) static void fill_cache()
{
	Amount alone;
	for (long i = 0; i < 3000; i++) {
		auto at = shop::cache.emplace(i * 7919 % 3000, shop::Entry { std::string(900, 'b') }).first;
		alone.add((std::_Rb_tree_node_base *) (void *) &*at - 1); /* an element lies behind its node's links */
		alone.add(at->second.body.data());
	}
	tell(shop::cache, alone, {}, "shop::cache");
}

__attribute__((noinline)) static void fill_orders()
{
	Amount alone;
	shop::orders.reserve(1000);
	alone.add(shop::orders.data());
	for (long i = 0; i < 1000; i++)
		shop::orders.push_back(alone.add(new shop::Order));
	tell(shop::orders, alone, {}, "shop::orders");
}

__attribute__((noinline)) static void fill_list()
{
	Amount alone;
	shop::list = a_list(5000, alone);
	tell(shop::list, alone, {}, "shop::list");
	Node *node = shop::list;
	for (int i = 1; i < 2000; i++)
		node = node->next;
	known("node 2000 %p shop::list\n", (void *) node);
}

__attribute__((noinline)) static void fill_table()
{
	Amount alone;
	for (long i = 0; i < 8; i++)
		shop::table[i] = a_list(10 * i, alone);
	tell(shop::table, alone, {}, "shop::table");
}

__attribute__((noinline)) static void fill_queues()
{
	Amount left, right, shared;
	shop::left_queue.common = shop::right_queue.common = a_list(300, shared);
	shop::left_queue.own = a_list(50, left);
	shop::right_queue.own = a_list(70, right, shop::left_queue.common);
	tell(shop::left_queue, left, shared, "shop::left_queue");
	tell(shop::right_queue, right, shared, "shop::right_queue");
}

__attribute__((noinline)) static void fill_static()
{
	__attribute__((used)) static Node *seen;
	Amount alone, all;
	seen = a_list(40, alone);
	tell(seen, alone, {}, "fill_static()::seen");
	shop::Registry::all = a_list(30, all);
	tell(shop::Registry::all, all, {}, "shop::Registry::all");
}

__attribute__((noinline)) static void fill_session(long nodes)
{
	Amount alone;
	session = a_list(nodes, alone);
	tell("tls", gettid(), alone, {}, "session");
}

__attribute__((noinline)) static Node *a_local_list()
{
	Amount alone;
	Node *nodes = a_list(90, alone);
	tell("stack", gettid(), alone, {}, "mine");
	return nodes;
}

__attribute__((noinline)) static void lose()
{
	Amount lost;
	a_list(77, lost);
	known("unreachable %ld %ld\n", lost.chunks, lost.bytes);
}

static pthread_barrier_t ready;

static void *work(void *)
{
	fill_session(110);
	Node *volatile mine = a_local_list();
	(void) mine;
	scrub();
	park(&ready);
}

int main()
{
	fill_cache();
	fill_orders();
	fill_list();
	fill_table();
	fill_queues();
	fill_static();
	fill_session(120);
	lose();
	pthread_t id;
	pthread_barrier_init(&ready, nullptr, 2);
	pthread_create(&id, nullptr, work, nullptr);
	pthread_barrier_wait(&ready);
	figures();
	scrub();
	announce();
	rest();
}
