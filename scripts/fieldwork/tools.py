"""The programs that do one job: images, video, a compiler, version control, a database."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from functools import lru_cache

from .program import Place, Program, script

Process = subprocess.Popen[bytes]
WIDTH, HEIGHT, FRAMES = 1920, 1080, 45

RAW = ("-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}")
ENCODED = ("-c:v", "libx264", "-preset", "veryfast", "-threads", "2", "-f", "null", "-")


def _frames(place: Place, process: Process) -> None:
    """Send raw video, and leave the pipe open: the encoder waits for more."""
    assert process.stdin is not None
    size = WIDTH * HEIGHT * 3 // 2
    noise = random.Random(15).randbytes(1 << 16)
    for number in range(FRAMES):
        line = noise[number * 64 :] + noise[: number * 64]
        process.stdin.write((line * (size // len(line) + 1))[:size])
    process.stdin.flush()


UNIT = """
namespace n{0} {{
struct S {{ std::map<std::string, std::vector<int>> a; std::regex r{{"a{0}b*"}}; }};
template <int N> int f(S &s)
{{ s.a["{0}"].push_back(N); return std::regex_match("x", s.r) + f<N - 1>(s); }}
template <> int f<0>(S &s) {{ return s.a.size(); }}
int g() {{ S s; return f<40>(s); }}
}}
"""


def _unit(place: Place) -> None:
    heads = "".join(f"#include <{name}>\n" for name in ("map", "regex", "string", "vector"))
    place.write("unit.cc", heads + "".join(UNIT.format(number) for number in range(60)))
    place.run("g++", "-E", "unit.cc", "-o", "unit.ii")


@lru_cache
def _compiler() -> str:
    words = ("g++", "-print-prog-name=cc1plus")
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _history(place: Place) -> None:
    """Make a repository of 1,500 versions of 30 files."""
    rng = random.Random(15)
    files = [[f"line {rng.getrandbits(60):x}\n" for _ in range(900)] for _ in range(30)]
    place.run("git", "init", "-q", "--bare", "repo")
    lines = []
    for number in range(1500):
        which = number % 30
        for _ in range(6):
            files[which][rng.randrange(900)] = f"line {rng.getrandbits(60):x}\n"
        text = "".join(files[which])
        lines.append(f"commit refs/heads/main\ncommitter f <f@f> {number} +0000\ndata 2\nm\n")
        lines.append(f"M 644 inline file{which}\ndata {len(text)}\n{text}\n")
    place.run("git", "-C", "repo", "fast-import", "--quiet", text="".join(lines))


def _repack(place: Place) -> Sequence[str]:
    words = ["git", "-C", "repo", "pack-objects", "--all", "--no-reuse-delta", "--threads=4"]
    return [*words, "--window=10", "--quiet", "pack"]


ROWS = """
ATTACH ':memory:' AS m;
CREATE TABLE m.t(a INTEGER PRIMARY KEY, b BLOB, c TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
INSERT INTO m.t SELECT i, zeroblob(i % 900), 'text ' || (i * 7919 % 100003) FROM n;
CREATE INDEX m.x ON t(c);
.output /dev/null
SELECT c, count(*) FROM m.t GROUP BY c ORDER BY 2, 1 LIMIT 3;
SELECT group_concat(c) FROM m.t;
DETACH m;
CREATE TABLE t(a);
.system touch ready
"""


def _rows(place: Place, process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(ROWS.encode())
    process.stdin.flush()
    place.wait_for("ready")


TOOLS = (
    Program(
        "ImageMagick",
        "by python3-wand: 5 images of 1600 x 1200 and more blurred, resized and rotated",
        ("python3-wand",),
        script("images.py", "/usr/bin/python3"),
        ("/usr/bin/python3", "-c", "import wand.version as v; print(v.MAGICK_VERSION)"),
    ),
    Program(
        "ffmpeg",
        "45 frames of 1920 x 1080 to H.264; it waits for the next frame",
        ("ffmpeg",),
        lambda place: ["ffmpeg", *RAW, "-i", "pipe:0", *ENCODED],
        ("ffmpeg", "-version"),
        load=_frames,
    ),
    Program(
        "cc1plus",
        "a C++ file of 60 units with maps and regular expressions; held where it ends",
        ("g++",),
        lambda place: [
            _compiler(),
            "-quiet",
            "-fpreprocessed",
            "-O1",
            place.path("unit.ii"),
            "-o",
            "/dev/null",
        ],
        ("g++", "--version"),
        prepare=_unit,
        hold=True,
    ),
    Program(
        "git",
        "pack-objects of 1,500 versions of 30 files, 4 threads; held where it ends",
        ("git",),
        _repack,
        ("git", "--version"),
        prepare=_history,
        hold=True,
    ),
    Program(
        "sqlite3",
        "150,000 rows in a database in memory, which is then detached",
        ("sqlite3",),
        lambda place: ["sqlite3", "-batch", ":memory:"],
        ("sqlite3", "--version"),
        load=_rows,
    ),
)
