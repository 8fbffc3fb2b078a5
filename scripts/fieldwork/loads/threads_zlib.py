"""Compress and decompress in a pool of threads; the pool lives on, and one result of a thousand."""

import random
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

CHUNK = [bytes(random.Random(n).choices(b"abcdefgh \n", k=30000)) for n in range(16)]


def work(number):
    rng = random.Random(number)
    parts = []
    for _ in range(30):
        whole = CHUNK[rng.randrange(16)] * rng.randrange(1, 5)
        packed = zlib.compress(whole[: rng.randrange(2000, len(whole))], 1)
        parts.append(zlib.decompress(packed))
    return parts[0] if number % 100 == 0 else len(b"".join(parts))


pool = ThreadPoolExecutor(16)
kept = [result for result in pool.map(work, range(400)) if isinstance(result, bytes)]
open("ready", "w").close()
sys.stdin.read()
