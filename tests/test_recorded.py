"""Recorded images themselves: small, complete, and without a trace of the machine they are from."""

from __future__ import annotations

import json

import pytest
from live import table
from recorded import IMAGES, NAMES, NotRecordedError, load, target_of

RELEASES = {"2.31", "2.36", "2.41", "2.43", "2.44"}
NEUTRAL = (
    *("/tmp/heapx/", "/etc/ld.so.cache"),
    *("/dev/shm/heapx-test-", "/dev/zero", "/memfd:", "/SYSV"),
)
LARGEST, ALL = 200 << 10, 8 << 20  # bytes


@pytest.fixture(scope="module")
def cached():
    """Return a recorded process of several threads, and its tcache bins, one by one."""
    image = load("2.36-amd64")
    (rows, _) = image.report("tcache")["tables"]
    assert len(rows["rows"]) > 40
    return image, rows["rows"]


def test_the_tcache_bins_of_many_threads_are_taken_together_by_size(cached):
    image, rows = cached
    table = image.report("tcache")["tables"][1]["rows"]
    assert [row["bytes"] for row in table] == sorted((r["bytes"] for r in table), reverse=True)
    for row in table:
        alike = [each for each in rows if each["bin"] == row["bin"]]
        assert row["threads"] == len({each["thread"] for each in alike}) == len(alike)
        for name in ("chunks", "bytes", "resident"):
            assert row[name] == sum(each[name] for each in alike)
    assert sum(row["threads"] for row in table) == len(rows)


def test_text_has_sizes_of_many_tcache_bins_and_each_on_request(cached):
    image, rows = cached
    said = image.text("tcache")
    assert said.startswith("tcache sizes, ")
    assert "heapx tcache --each" in said
    each = image.text("tcache --each")
    assert each.startswith("tcache, ")
    assert f"{len(rows) - 40:,} more rows (--limit)" in each
    assert image.text("tcache --sort thread").startswith("tcache, ")


def test_images_are_small():
    sizes = [(IMAGES / f"{name}.zip").stat().st_size for name in NAMES]
    assert max(sizes) <= LARGEST
    assert sum(sizes) <= ALL


def test_there_is_one_of_every_release_and_some_of_i386():
    assert {name.split("-")[0] for name in NAMES if name.endswith("-amd64")} == RELEASES
    assert len([name for name in NAMES if name.endswith("-i386")]) >= 2


@pytest.fixture(scope="module", params=NAMES)
def image(request):
    return load(request.param)


@pytest.mark.few(13)
def test_files_are_the_system_s_or_in_the_place_of_images(image):
    names = {mapping.name for mapping in image.mappings if mapping.name.startswith("/")}
    assert all(name.startswith(NEUTRAL) for name in names)


@pytest.mark.few(16)
def test_nothing_tells_where_or_by_whom_it_was_recorded(image):
    facts = json.dumps([image.facts, image.said]).encode()
    for name in (b"HOME=/", b"USER=", b"PWD=/", b"/home/", b"/root"):
        assert not any(name in data for data in (facts, *image.pages.values())), name


def test_what_is_in_no_mapping_and_what_was_not_recorded_are_different(image):
    target = target_of(image)
    code = next(m for m in target.facts.mappings if "x" in m.permissions and m.name.startswith("/"))
    with pytest.raises(NotRecordedError):
        target.space.memory.read(code.end - 8, 8)
    assert not target.space.readable(8)
    with pytest.raises(NotRecordedError):
        target.objects[0].text(b"never (asked)")


@pytest.mark.parametrize("name", [name for name in NAMES if name.count("-") == 1])
def test_the_general_image_has_something_of_everything(name):
    image = load(name)
    arenas, bins, top = (table(image.report(command)) for command in ("arenas", "bins", "top"))
    assert len(arenas) == 4
    assert max(row["heaps"] for row in arenas) > 1
    fast = {"fast"} if name < "2.43" else set()
    assert {row["kind"] for row in bins} == {"unsorted", "small", "large"} | fast
    assert len(table(image.report("threads"))) == 4
    assert all(row["tcache_chunks"] > 100 for row in arenas)
    assert len(table(image.report("mmapped"))) == 6
    assert any(row["resident"] < row["size"] for row in top)


def test_every_thread_has_its_registers_and_the_stack_that_they_point_at(image):
    page = image.facts["page"]
    for thread in image.facts["threads"]:
        registers = thread["registers"]
        stack = registers.get("rsp", registers.get("esp"))
        assert any(image.pages[stack - stack % page])
        assert thread["frames"]


@pytest.mark.parametrize("name", ["2.36-amd64-tcaches", "2.36-amd64-trim-much-tcache"])
def test_arenas_that_serve_all_requests_alike_are_told_together(name):
    """Text has for each arena what JSON has."""
    image = load(name)
    (_, ranges, _) = image.report("fit")["tables"]
    wanted = {}
    for row in ranges["rows"]:
        told = row["smallest"], row["largest"], row["source"], row["grows"]
        wanted.setdefault(row["arena"], []).append(told)
    seen = {}
    for line in image.text("fit").splitlines()[2:]:
        arenas, smallest, largest, source, grows = line.replace(", ", ",").replace(",", "").split()
        first, _, last = arenas.partition("-")
        for arena in range(int(first), int(last or first) + 1):
            seen.setdefault(arena, []).append((int(smallest), int(largest), source, int(grows)))
    assert seen == wanted
    assert len(image.text("fit").splitlines()) - 2 < len(ranges["rows"])


@pytest.mark.parametrize("width", [60, 70, 80])
@pytest.mark.parametrize(
    "line", ["bins", "check --all", "fit", "heaps", "leaks", "sizes", "tcache"]
)
def test_tables_fit_narrow_terminals(line, width):
    """But for the commands to type next."""
    said = load("2.36-amd64").text(line, width).splitlines()
    assert [each for each in said if len(each) > width and not each.startswith("heapx ")] == []


def test_text_has_few_of_many_bins_and_says_how_many_more():
    image = load("2.36-amd64")
    (bins,) = image.report("bins")["tables"]
    said = image.text("bins")
    assert f"{len(bins['rows']) - 40} more rows (--limit)" in said
    assert len(image.text("bins --limit 1000").splitlines()) > len(bins["rows"])
    most = max(bins["rows"], key=lambda row: row["bytes"])
    first = said.splitlines()[2].split()
    assert first[:3] == [str(most[name]) for name in ("arena", "kind", "bin")]
