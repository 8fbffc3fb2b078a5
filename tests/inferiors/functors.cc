/* What std::functions call, in chunks of their own, so many of each kind: "known" has the numbers, as `functor CHUNKS`.
   Some lie in the std::function itself, and lead to chunks that are no functors. */
#define _Noreturn [[noreturn]]
#include "checkpoint.h"
#include "scrub.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

enum { COPYING = 10, OWNING, PLAIN, BOUND, NESTED, SMALL };

struct Plain {
	long values[10];
	long operator()() { return values[3]; }
};

struct Account {
	long balance;
	long with(long one, long other) { return balance + one + other; }
};

static std::vector<std::function<long()>> all;
static std::vector<std::unique_ptr<long[]>> held;

template <class T> static void keep(int number, const T &functor)
{
	for (int i = 0; i < number; i++)
		all.push_back(functor);
	known("functor %d\n", number);
}

__attribute__((noinline)) static void fill()
{
	static Account account = { 3 };
	std::string name(60, 'n');
	auto shared = std::make_shared<long>(5);
	static std::function<long(int)> inner;

	all.reserve(200);
	keep(COPYING, [name] { return (long) name.size(); });
	keep(OWNING, [shared] { return *shared; });
	keep(PLAIN, Plain{ { 1, 2, 3 } });
	keep(BOUND, std::bind(&Account::with, &account, 4, 5));
	inner = [name, shared](int more) { return (long) name.size() + *shared + more; };
	keep(NESTED, [inner = inner] { return inner(3); });
	known("functor %d\n", NESTED + 1); /* what is in those, and in the one of the file */
	for (int i = 0; i < SMALL; i++) {
		held.push_back(std::make_unique<long[]>(i + 1));
		all.push_back([values = held.back().get(), i] { return values[i]; });
	}
}

int main()
{
	fill();
	scrub(); /* of std::functions that are over */
	checkpoint();
}
