"""The page of heapx report in a browser: read, sorted, searched, printed, on two screens."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from live import heapx, reports, without_others
from pages import DESKTOP, HOSTILE, LINES, PHONE, anchor, browser, parts, show
from recorded import load

from gdb_heapx.commands.report import OMITTED

IMAGE = load("2.36-amd64")
SCREENS = [
    pytest.param((size, scheme), marks=marks, id=f"{size[0]}-{scheme}")
    for size, scheme, marks in (
        (PHONE, "dark", ()),
        (PHONE, "light", pytest.mark.slow),
        (DESKTOP, "dark", pytest.mark.slow),
        (DESKTOP, "light", ()),
    )
]


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return the page of a recorded process."""
    file = tmp_path_factory.mktemp("page") / "page.html"
    IMAGE.answer(f"report --types --output {file}")
    return file


@pytest.fixture(scope="module", params=SCREENS)
def screen(request, chromium, file):
    """Return the page as it is on a screen, in light or dark colours."""
    return show(chromium, file, *request.param)


def test_it_opens_from_disk_without_a_complaint_or_a_further_request(screen, file):
    assert screen.complaints == []
    assert screen.asked == [file.as_uri()]


def test_it_is_no_wider_than_the_screen(screen):
    sizes = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    scrolled, shown = screen.view.evaluate(sizes)
    assert scrolled == shown


@pytest.mark.slow
def test_axe_finds_nothing_that_keeps_people_from_reading_it(screen):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install it")
    screen.view.bring_to_front()
    found = axe.Axe().run(screen.view)
    assert found.response["passes"]
    assert found.violations_count == 0, found.generate_report()


def test_the_histogram_has_a_bar_for_each_size_that_has_chunks(screen, file):
    rows = parts(file.read_text()).report("heapx sizes --group")["tables"][0]["rows"]
    bars = screen.view.locator("#histogram .ct-bar")
    assert bars.count() == 2 * len(rows)
    heights = bars.evaluate_all("bars => bars.map(bar => bar.getBBox().height)")
    in_use, free = heights[: len(rows)], heights[len(rows) :]
    ordered = sorted(rows, key=lambda row: row["size"])
    largest = max(range(len(rows)), key=lambda at: ordered[at]["in_use"])
    assert in_use[largest] == max(in_use)
    assert [height > 0 for height in free] == [row["free"] > 0 for row in ordered]


def test_the_bar_of_rss_has_the_widths_of_its_parts(screen, file):
    rows = parts(file.read_text()).report("heapx")["tables"][0]["rows"]
    sizes = [row["resident"] for row in rows if row["resident"]]
    drawn = screen.view.locator("#heapx .bar rect")
    widths = drawn.evaluate_all("parts => parts.map(part => part.getBoundingClientRect().width)")
    assert len(widths) == len(sizes)
    for width, size in zip(widths, sizes):
        assert width / sum(widths) == pytest.approx(size / sum(sizes), abs=0.003)


@pytest.fixture
def view(chromium, file):
    """Return the page on a large screen, as it is when it is opened."""
    seen = show(chromium, file)
    yield seen.view
    assert seen.complaints == []
    seen.view.close()


def column(view, line, number):
    """Return the cells of a column that are shown."""
    rows = f"#{anchor(line)} .sheet >> nth=0 >> tbody tr:not([hidden])"
    texts = f"rows => rows.map(row => row.querySelectorAll('td')[{number}].innerText)"
    return view.locator(rows).evaluate_all(texts)


def test_a_heading_sorts_by_enter_and_then_the_other_way_round(view, file):
    rows = parts(file.read_text()).report("heapx sizes --each")["tables"][0]["rows"]
    heading = view.locator("#sizes-each th").first
    heading.locator("button").focus()
    view.keyboard.press("Enter")
    sizes = sorted(
        (f"{row['size']:,}" for row in rows), key=lambda text: -int(text.replace(",", ""))
    )
    assert column(view, "heapx sizes --each", 0) == sizes
    assert heading.get_attribute("aria-sort") == "descending"
    view.keyboard.press("Enter")
    assert column(view, "heapx sizes --each", 0) == sizes[::-1]
    assert heading.get_attribute("aria-sort") == "ascending"


@pytest.mark.slow
def test_words_sort_by_letter_and_numbers_in_them_by_size(view, file):
    rows = parts(file.read_text()).report("heapx check --all")["tables"][0]["rows"]
    view.locator("#check-all th button").first.click()
    assert column(view, "heapx check --all", 0) == sorted(row["check"] for row in rows)


@pytest.mark.slow
def test_a_word_that_is_typed_hides_the_other_rows(view, file):
    rows = parts(file.read_text()).report("heapx params")["tables"][0]["rows"]
    field = view.locator("#params input")
    field.focus()
    view.keyboard.type("tcache")
    found = [row["name"] for row in rows if "tcache" in row["name"] or "tcache" in row["effect"]]
    assert column(view, "heapx params", 0) == found
    assert view.locator("#params output").inner_text() == f"{len(found)} of {len(rows)}"
    field.fill("")
    assert len(column(view, "heapx params", 0)) == len(rows)


@pytest.mark.slow
def test_the_tab_key_leads_to_all_that_can_be_used_and_shows_where_it_is(view):
    usable = view.locator("a, button, input, [tabindex='0'], summary").count()
    seen = set()
    for _ in range(usable):
        view.keyboard.press("Tab")
        every = "(window.every ||= [...document.querySelectorAll('*')])"
        seen.add(view.evaluate(f"{every}.indexOf(document.activeElement)"))
        visible = view.evaluate(
            "(style => style.outlineStyle !== 'none' || style.strokeWidth !== '')"
            "(getComputedStyle(document.activeElement))"
        )
        assert visible
    assert len(seen) == usable


@pytest.mark.slow
def test_a_bar_that_is_reached_says_what_it_is(view, file):
    rows = parts(file.read_text()).report("heapx sizes --group")["tables"][0]["rows"]
    smallest = min(rows, key=lambda row: row["size"])
    view.locator("#histogram .ct-bar").first.focus()
    said = view.locator(".chart .readout").inner_text()
    assert f"{smallest['in_use_chunks']:,} chunks" in said


@pytest.mark.slow
def test_a_row_of_the_map_says_what_lies_where(view, file):
    rows = parts(file.read_text()).report("heapx map")["tables"][0]["rows"]
    lanes = view.locator("#map .lane")
    assert lanes.count() >= len(rows)
    last = next(row for row in rows if row["arena"] == 1)
    lane = view.locator(f"#map .lane[aria-label*='{last['address']}']")
    lane.focus()
    said = view.locator("#map .readout")
    assert said.inner_text().startswith(f"arena 1, {last['address']}: ")
    view.keyboard.press("ArrowRight")
    assert said.inner_text().startswith(f"{last['address']} to ")
    stretch = lane.locator("[data-t]").last
    stretch.hover()
    assert said.inner_text() == stretch.get_attribute("data-t")


@pytest.mark.slow
def test_it_prints_whole(chromium, file, tmp_path):
    seen = show(chromium, file)
    seen.view.pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
    seen.view.emulate_media(media="print")
    seen.view.set_viewport_size({"width": 680, "height": 960})  # of A4 within its margins
    for sheet in seen.view.locator(".scroll").all():
        shown = sheet.evaluate(
            "it => [it.scrollWidth <= it.clientWidth, it.scrollHeight <= it.clientHeight]"
        )
        assert shown == [True, True], sheet.evaluate("it => it.ariaLabel")
    assert not seen.view.locator("nav").is_visible()
    seen.view.close()


@pytest.fixture(scope="module")
def printed(chromium, file, tmp_path_factory):
    """Return what stands on each sheet of a page with long tables."""
    reader = shutil.which("pdftotext")
    if reader is None:
        pytest.skip("what is on paper is read with pdftotext: apt-get install poppler-utils")
    paper = tmp_path_factory.mktemp("printed") / "page.pdf"
    seen = show(chromium, file)
    seen.view.pdf(path=paper, format="A4")
    seen.view.close()
    words = [reader, "-layout", paper, "-"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return told.rstrip("\f").split("\f")


@pytest.mark.slow
def test_a_table_that_goes_on_has_its_headings_on_each_sheet(printed):
    (begun,) = (i for i, sheet in enumerate(printed) if "heapx bins" in sheet)
    (ended,) = (i for i, sheet in enumerate(printed) if "40 of these 171 rows" in sheet)
    assert ended > begun
    assert all("max size" in sheet for sheet in printed[begun : ended + 1])


def test_of_a_long_table_paper_has_the_first_rows_and_says_so(printed):
    bins = (
        "\n".join(printed).partition("heapx bins")[2].partition("On paper are 40 of these 171")[0]
    )
    assert len(re.findall(r"^ +\d+ +(fast|unsorted|small|large) ", bins, re.M)) == 40


@pytest.mark.slow
def test_paper_is_white_where_the_screen_is_dark(chromium, file):
    seen = show(chromium, file, scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    assert seen.view.evaluate(colour) == "rgb(21, 23, 26)"
    seen.view.emulate_media(media="print", color_scheme="dark")
    assert seen.view.evaluate(colour) == "rgb(255, 255, 255)"
    seen.view.close()


@pytest.mark.live
@pytest.mark.slow
def test_a_program_and_threads_with_names_of_html_do_nothing(chromium, inferiors, start, tmp_path):
    name = HOSTILE.replace("/", "")
    shutil.copy(inferiors / "arenas", inferiors / name)
    process = start(name, "3")
    file = tmp_path / "page.html"
    said = heapx("-p", process.pid, "report", "--output", file)
    assert (said.status, said.err) == (0, "")
    assert said.out == f"Written to {file}: open it in a browser.\n"
    seen = show(chromium, file)
    assert seen.complaints == []
    assert seen.view.locator("h1").inner_text() == name
    assert seen.view.locator("img").count() == 0
    assert column(seen.view, "heapx threads", 1)[0] == name[:15]


@pytest.mark.live
def test_a_page_of_a_process_says_what_the_commands_say(start, tmp_path):
    process = start("arenas", "3")
    file = tmp_path / "page.html"
    said = heapx("-p", process.pid, "report", "--limit", 1 << 40, "--output", file)
    assert (said.status, said.err) == (0, "")
    assert said.out == f"Written to {file}: open it in a browser.\n"
    page = parts(file.read_text())
    own = reports(LINES, tmp_path / "own", ("-p", process.pid))
    for line in LINES:
        told = page.report(line)
        assert told["target"] == own[line]["target"], line
        if line not in ("heapx types", "heapx pins"):  # which quote memory
            kept = [table for table in own[line]["tables"] if table["name"] not in OMITTED]
            assert without_others(told["tables"]) == without_others(kept), line
