"""The programs that keep data for others: databases and caches."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from typing import Any

from .clients import at_once, in_directory, stream
from .program import Place, Program

Process = subprocess.Popen[bytes]

# mariadb

QUERIES = """
SET SESSION group_concat_max_len = 1 << 26, tmp_memory_table_size = 1 << 25;
SET SESSION sort_buffer_size = 1 << 22;
SELECT LENGTH(GROUP_CONCAT(MD5(seq + {0}) ORDER BY MD5(seq))) FROM seq_1_to_40000;
SET @text = REPEAT('field', {1});
SELECT COUNT(*) FROM (SELECT MD5(seq) AS m, COUNT(*) FROM seq_1_to_30000 GROUP BY m) AS t;
SELECT LENGTH(CONCAT(@text, @text));
"""


def _mariadb_words(place: Place) -> Sequence[str]:
    return ["--no-defaults", f"--socket={place.path('mariadb.sock')}"]


def _mariadb_new(place: Place) -> None:
    data = f"--datadir={place.path('data')}"
    place.run(
        "mariadb-install-db", "--no-defaults", data, "--auth-root-authentication-method=normal"
    )


def _mariadb(place: Place) -> Sequence[str]:
    words = ["mariadbd", *_mariadb_words(place), f"--datadir={place.path('data')}"]
    words += [
        "--skip-networking",
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=8M",
        "--thread-cache-size=16",
    ]
    return [*words, "--user=root"] if os.geteuid() == 0 else words


def _mariadb_load(place: Place, process: Process) -> None:
    def ask(number: int) -> None:
        text = QUERIES.format(number, 40000 + 90000 * (number % 11))
        place.run("mariadb", *_mariadb_words(place), "--user=root", "mysql", text=text)

    at_once(16, ask, range(96))


# postgres

SQL = """
\\o backend
\\t
SELECT pg_backend_pid();
\\o /dev/null
SET work_mem = '96MB';
CREATE TEMP TABLE t AS SELECT i, md5(i::text) AS m FROM generate_series(1, 300000) AS i;
SELECT m, count(*) FROM t GROUP BY m ORDER BY m DESC LIMIT 5;
SELECT length(string_agg(m, ',' ORDER BY m)) FROM t;
SELECT count(*) FROM t a JOIN t b USING (m);
DO $$ BEGIN FOR n IN 1..3000 LOOP
EXECUTE format('PREPARE p%s AS SELECT %s + i FROM t WHERE m = $1', n, n);
END LOOP; END $$;
DEALLOCATE ALL;
DROP TABLE t;
\\! touch ready
"""
POSTGRES_BIN = "/usr/lib/postgresql"


def _postgres_tool(name: str) -> str:
    newest = max(os.listdir(POSTGRES_BIN), key=float)
    return f"{POSTGRES_BIN}/{newest}/bin/{name}"


def _postgres_new(place: Place) -> None:
    place.run(_postgres_tool("initdb"), "-D", place.path("data"), "-A", "trust", "-U", "field")


def _postgres(place: Place) -> Sequence[str]:
    words = [_postgres_tool("postgres"), "-D", place.path("data"), "-k", str(place.directory)]
    return [*words, "-c", "listen_addresses=", "-c", "shared_buffers=64MB", "-c", "fsync=off"]


def _postgres_load(place: Place, process: Process) -> Any:
    words = ("psql", "-q", "-X", "-h", str(place.directory), "-U", "field", "postgres")
    client = subprocess.Popen(words, stdin=subprocess.PIPE, cwd=place.directory, **place.identity())
    assert client.stdin is not None
    client.stdin.write(SQL.encode())
    client.stdin.flush()
    place.wait_for("ready")
    return client.stdin  # the session lives on


def _backend(place: Place, pid: int) -> int:
    return int((place.directory / "backend").read_text())


# redis, memcached

REDIS = ("redis-server", "--port", "0", "--save", "", "--daemonize", "no")
KEYS = 120_000


def _redis_load(place: Place, process: Process) -> None:
    rng = random.Random(15)
    sets = (b"SET k%d %s\r\n" % (key, b"v" * rng.randrange(20, 2500)) for key in range(KEYS))
    gone = (b"DEL k%d\r\n" % key for key in range(KEYS) if key % 100)
    for lines in (sets, gone):
        stream(place.path("redis.sock"), lines, b"ECHO done\r\n", b"done\r\n")


def _memcached_load(place: Place, process: Process) -> None:
    def fill(which: int) -> None:
        rng = random.Random(which)
        sets = (_stored(f"{which}-{n}", rng.randrange(50, 8000)) for n in range(8000))
        stream(place.path("memcached.sock"), sets, b"mn\r\n", b"MN\r\n")

    at_once(4, fill, range(4))
    stream(place.path("memcached.sock"), (b"flush_all\r\n",), b"mn\r\n", b"MN\r\n")


def _stored(key: str, size: int) -> bytes:
    return b"set %s 0 0 %d noreply\r\n%s\r\n" % (key.encode(), size, b"v" * size)


DATABASES = (
    Program(
        "mariadbd",
        "96 sessions, 16 at a time: group_concat, sorts, groups, variables of 0.2 to 5 MB",
        ("mariadb-server",),
        _mariadb,
        ("mariadbd", "--version"),
        prepare=_mariadb_new,
        serves=in_directory("mariadb.sock"),
        load=_mariadb_load,
    ),
    Program(
        "postgres",
        "a session: hash joins, sorts and 3,000 prepared statements over a table, then dropped",
        ("postgresql",),
        _postgres,
        ("psql", "--version"),
        prepare=_postgres_new,
        serves=in_directory(".s.PGSQL.5432"),
        load=_postgres_load,
        pick=_backend,
        user="postgres",
    ),
    Program(
        "redis-server",
        "120,000 keys of 20 B to 2.5 kB, all but 1 % then deleted",
        ("redis-server",),
        lambda place: [*REDIS, "--unixsocket", place.path("redis.sock")],
        ("redis-server", "--version"),
        serves=in_directory("redis.sock"),
        load=_redis_load,
    ),
    Program(
        "memcached",
        "32,000 values of 50 B to 8 kB, then flush_all",
        ("memcached",),
        lambda place: ["memcached", "-s", place.path("memcached.sock"), "-m", "192", "-u", "root"],
        ("memcached", "--version"),
        serves=in_directory("memcached.sock"),
        load=_memcached_load,
    ),
)
