/* Known numbers of objects of known types, in the ways in which C++ programs keep them. What the program knows goes to
   "known":

     class INSTANCES CHUNKS NAME    so many live objects of a class, in so many chunks
     dead INSTANCES CHUNKS NAME     destroyed ones, whose chunk a weak_ptr keeps
     function CHUNKS NAME           chunks whose first words lead into code, and the function's name
     container KIND CHUNKS          what the standard library allocated for a container
     data KIND CHUNKS SIZE          chunks of SIZE bytes that hold no objects

   Each way has a class of its own. Nothing is freed. */
#define _Noreturn [[noreturn]]
#include "checkpoint.h"

#include <coroutine>
#include <deque>
#include <fstream>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <unordered_map>
#include <vector>

/* What holds everything is in no chunk. */
static void *map_pages(size_t size)
{
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		abort();
	return pages;
}

static void **held;

template <class T> static T *hold(T *object)
{
	*held++ = (void *) object;
	return object;
}

/* A container that is in no chunk itself. */
template <class T> static T *container()
{
	return new (map_pages(4096)) T;
}

namespace zoo {

struct Animal {
	long age = 0x1122334455667788;
	virtual ~Animal() {}
	virtual long speak() { return age; }
};

/* Classes alike: one for each way. */
#define CLASS(name)                       \
	struct name : zoo::Animal {                  \
		long own = -(long) sizeof(#name);    \
		virtual long speak() { return own; } \
	}

CLASS(Single);
CLASS(Arrayed);
CLASS(InVector);
CLASS(InList);
CLASS(InMap);
CLASS(InUnorderedMap);
CLASS(InDeque);
CLASS(Shared);
CLASS(Counted);
CLASS(Dead);
CLASS(Pooled);
CLASS(Scattered);
CLASS(Member);

struct Owner : Animal {
	long before = -1;
	Member member;
};

struct Swimmer {
	long depth = -2;
	virtual ~Swimmer() {}
	virtual long swim() { return depth; }
};

struct TwoBases : Animal, Swimmer {
	long own = -3;
	virtual long swim() { return own; }
};

struct Left : virtual Animal {
	long left = -4;
};

struct Right : virtual Animal {
	long right = -5;
};

struct Diamond : Left, Right {
	long own = -6;
	virtual long speak() { return own; }
};

template <class T> struct Box : Animal {
	T content = {};
	virtual long speak() { return (long) content; }
};

struct Frame {
	struct promise_type {
		Frame get_return_object() { return { std::coroutine_handle<promise_type>::from_promise(*this) }; }
		std::suspend_always initial_suspend() noexcept { return {}; }
		std::suspend_always final_suspend() noexcept { return {}; }
		void return_void() {}
		void unhandled_exception() {}
	};
	std::coroutine_handle<promise_type> handle;
};

Frame count_to(long number)
{
	for (long i = 0; i < number; i++)
		co_await std::suspend_always();
}

} // namespace zoo

namespace {
CLASS(Unnamed);
} // namespace

static void tell(const char *name, long instances, long in)
{
	known("class %ld %ld %s\n", instances, in, name);
}

template <class T> static void singles(const char *name, long number)
{
	for (long i = 0; i < number; i++)
		hold(new T);
	tell(name, number, number);
}

static void arrays()
{
	for (int i = 0; i < 4; i++)
		hold(new zoo::Arrayed[25]);
	tell("zoo::Arrayed", 100, 4);
}

static void vectors()
{
	for (int i = 0; i < 2; i++) {
		auto *vector = container<std::vector<zoo::InVector>>();
		vector->reserve(60);
		vector->resize(50);
	}
	tell("zoo::InVector", 100, 2);
	known("container vector 2\n");
}

static void nodes()
{
	container<std::list<zoo::InList>>()->resize(70);
	tell("zoo::InList", 70, 70);
	known("container list 70\n");

	auto *map = container<std::map<long, zoo::InMap>>();
	for (long i = 0; i < 80; i++)
		(*map)[i * 7 % 80];
	tell("zoo::InMap", 80, 80);
	known("container map 80\n");

	auto *hashed = container<std::unordered_map<long, zoo::InUnorderedMap>>();
	for (long i = 0; i < 90; i++)
		(*hashed)[i];
	tell("zoo::InUnorderedMap", 90, 90);
	known("container unordered_map 90\n");
}

static void deques()
{
	auto *deque = container<std::deque<zoo::InDeque>>();
	deque->resize(200);
	long blocks = 0;
	for (long i = 0; i < 200; i++)
		blocks += !i || &(*deque)[i] != &(*deque)[i - 1] + 1;
	tell("zoo::InDeque", 200, blocks);
	known("container deque %ld\n", blocks);
}

static void shared()
{
	for (int i = 0; i < 30; i++)
		new (map_pages(1)) std::shared_ptr<zoo::Shared>(std::make_shared<zoo::Shared>());
	tell("zoo::Shared", 30, 30);
	for (int i = 0; i < 15; i++)
		new (map_pages(1)) std::shared_ptr<zoo::Counted>(new zoo::Counted);
	tell("zoo::Counted", 15, 15);
	known("container shared_ptr 15\n"); /* the control blocks, apart from the objects */
	for (int i = 0; i < 20; i++) {
		auto dead = std::make_shared<zoo::Dead>();
		new (map_pages(1)) std::weak_ptr<zoo::Dead>(dead);
	}
	known("dead 20 20 zoo::Dead\n");
}

/* One large chunk, side by side; another with gaps of many sizes between them. */
static void pools()
{
	char *pool = hold(static_cast<char *>(calloc(1, 100000)));
	for (long i = 0; i < 1000; i++)
		new (pool + i * sizeof(zoo::Pooled)) zoo::Pooled;
	tell("zoo::Pooled", 1000, 1);
	char *arena = hold(static_cast<char *>(calloc(1, 100000)));
	uint64_t seed = 1;
	for (long i = 0; i < 300; i++, arena += sizeof(zoo::Scattered) + 8 * between(&seed, 0, 20))
		new (arena) zoo::Scattered;
	tell("zoo::Scattered", 300, 1);
}

static void members()
{
	for (int i = 0; i < 12; i++)
		hold(new zoo::Owner);
	tell("zoo::Owner", 12, 12);
	tell("zoo::Member", 12, 12);
}

/* What std::functions call, in chunks of its own: led to from a vector, a map, mapped memory, a file's variable, a
   stack. Those with a pointer have it in themselves: what that leads to is no functor. */
static std::function<long()> of_file;

static void functors()
{
	long a = -7, b = -8, c = -9;
	struct {
		long values[5] = { -1, -2, -3, -4, -5 };
	} larger;
	auto large = [=] { return a + b + c; };
	auto *vector = container<std::vector<std::function<long()>>>();
	auto *map = container<std::map<int, std::function<long()>>>();
	for (int i = 0; i < 14; i++)
		vector->push_back(large);
	for (int i = 0; i < 13; i++)
		(*map)[i] = [=] { return larger.values[i % 5]; };
	*container<std::function<long()>>() = large;
	of_file = large;
	for (int i = 0; i < 5; i++) {
		long *words = hold(static_cast<long *>(calloc(1, 3 * sizeof(long))));
		vector->push_back([words, i] { return words[i % 3]; });
	}
	known("container functor %d\n", 14 + 13 + 1 + 1);
}

static void functions()
{
	for (int i = 0; i < 16; i++)
		hold(zoo::count_to(i).handle.address());
	known("function 16 zoo::count_to\n");
	for (int i = 0; i < 18; i++)
		hold(new std::function<long()>([i] { return (long) i; }));
	known("container function 18\n");
	functors();
}

static void strings()
{
	auto *strings = container<std::vector<std::string>>();
	strings->reserve(45);
	for (int i = 0; i < 45; i++)
		strings->push_back(std::string(100, 'a' + i % 26));
	known("container string 45\n");
}

/* Streams that read, that write, and of C: each has a buffer. */
static void streams()
{
	for (int i = 0; i < 6; i++) {
		hold(new std::ifstream("/proc/self/maps"))->get();
		*hold(new std::ofstream("/dev/null")) << i;
		FILE *file = hold(fopen("/dev/null", "w"));
		if (!file || fputc('0' + i, file) == EOF)
			abort();
	}
	known("container stream 18\n");
}

/* Each kind has a size of its own. */
static void data(const char *kind, size_t size, int number, const void *text, size_t length)
{
	size_t request = size - sizeof(size_t);
	for (int i = 0; i < number; i++) {
		char *chunk = static_cast<char *>(hold(malloc(request)));
		memset(chunk, 0, request);
		for (size_t at = 0; length && at + length <= request - 8; at += length)
			memcpy(chunk + at, text, length);
	}
	known("data %s %d %zu\n", kind, number, size);
}

static void plain()
{
	static const char ascii[] = "GET /index.html HTTP/1.1\r\n";
	static const char utf8[] = "Größe ändern, naïve café – über alles; ";
	static const char16_t utf16[] = u"Wide text, as Windows has it. ";
	static void *pointers[] = { &held, &oracle, &pointers };
	data("ascii", 1104, 33, ascii, sizeof ascii - 1);
	data("utf8", 1120, 31, utf8, sizeof utf8 - 1);
	data("utf16", 1136, 29, utf16, sizeof utf16 - 2);
	data("zeros", 1152, 27, NULL, 0);
	data("pointers", 1168, 23, pointers, sizeof pointers);
}

int main()
{
	held = static_cast<void **>(map_pages(1 << 16));
	singles<zoo::Single>("zoo::Single", 40);
	singles<Unnamed>("(anonymous namespace)::Unnamed", 26);
	singles<zoo::Box<long>>("zoo::Box<long>", 24);
	singles<zoo::TwoBases>("zoo::TwoBases", 35);
	singles<zoo::Diamond>("zoo::Diamond", 22);
	arrays();
	vectors();
	nodes();
	deques();
	shared();
	pools();
	members();
	functions();
	strings();
	streams();
	plain();
	checkpoint();
}
