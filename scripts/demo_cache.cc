/* A server whose RES grows with each answer, because it holds on to what it has made: a cache that never evicts.
 *
 *     demo_cache [MB [THREADS]]
 *
 * Workers answer requests for pages, until they have sent MB. Each page is rendered once, and kept in a
 * cache by the path of its request. But that has the client's session in it, so that no page is ever
 * found there, and nothing takes pages out. Besides, one request in a hundred times out, and is
 * forgotten. Prints how many that were, and "ready PID" when all is answered; waits for SIGTERM. */

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <vector>

namespace web {

struct Request {
    std::string path, agent;
    virtual ~Request() = default;
};

struct Page {
    std::vector<char> body;
    std::string type;
    virtual ~Page() = default;
};

std::mutex lock;
std::unordered_map<std::string, std::shared_ptr<Page>> page_cache;
std::unordered_map<std::string, unsigned> hits;
size_t sent; // bytes of bodies
unsigned answered, timed_out;

uint32_t draw(uint32_t &state, uint32_t limit) {
    state ^= state << 13; /* xorshift32: each run is the same */
    state ^= state >> 17;
    state ^= state << 5;
    return state % limit;
}

std::shared_ptr<Page> render(uint32_t &state) {
    auto page = std::make_shared<Page>();
    page->type = "text/html; charset=utf-8";
    page->body.assign(1000 + draw(state, 4000), 'x');
    return page;
}

bool answer(uint32_t &state, size_t limit) {
    auto request = new Request;
    const std::string product = "/product/" + std::to_string(draw(state, 500));
    request->path = product + "?session=" + std::to_string(draw(state, 1u << 31));
    request->agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101";
    std::lock_guard<std::mutex> guard(lock);
    hits[product]++;
    auto &page = page_cache[request->path]; /* the key should be `product` */
    if (!page)
        page = render(state);
    sent += page->body.size();
    answered++;
    if (draw(state, 100))
        delete request;
    else
        timed_out++; /* and nobody deletes it */
    return sent < limit;
}

void work(uint32_t state, size_t limit) {
    while (answer(state, limit)) {
    }
}

} // namespace web

int main(int count, char **arguments) {
    const size_t limit = (count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1024) << 20;
    const unsigned threads = count > 2 ? std::strtoul(arguments[2], nullptr, 10) : 4;
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);
    std::vector<std::thread> workers;
    for (uint32_t number = 1; number <= threads; number++)
        workers.emplace_back(web::work, number * 2654435761u, limit);
    for (std::thread &worker : workers)
        worker.join();
    std::printf("%u requests answered, %u timed out\n", web::answered, web::timed_out);
    std::printf("ready %d\n", getpid());
    std::fflush(stdout);
    int signal;
    sigwait(&ends, &signal);
    return 0;
}
