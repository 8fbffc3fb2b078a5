"""What text shows otherwise than JSON and CSV, which have all of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from live import table
from recorded import load

from gdb_heapx.errors import UsageError
from gdb_heapx.report.arrange import arrange
from gdb_heapx.report.model import Report
from gdb_heapx.report.schema import Column, Kind, Schema

KNOWN, DAMAGED = "2.36-amd64", "2.36-amd64-damaged-tcache"
ONE_ARENA = "2.36-amd64-why-small-blocks"
FORMS = ("json", "csv")


def text(line, image=KNOWN, width=80):
    return load(image).text(line, width)


def data(line, image=KNOWN):
    return load(image).report(line)


@pytest.mark.parametrize("line", ["ledger --by-arena", "check --all", "sizes --each"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("image", [KNOWN, DAMAGED])
def test_what_is_on_request_in_text_scripts_always_get(line, form, image):
    bare = line.partition(" ")[0]
    assert text(f"{line} --format {form}", image) == text(f"{bare} --format {form}", image)


def test_the_ledger_shows_each_owner_once_and_arenas_on_request():
    shown, rows = text("ledger"), table(data("ledger"))
    owners = {row["owner"] for row in rows}
    assert len(owners) < len(rows)
    assert all(shown.count(f"\n{owner} ") == 1 for owner in owners)
    listed = text("ledger --by-arena")
    assert all(listed.count(f"\n{r['owner']} ") > 1 for r in rows if r["arena"] == 1)


def test_the_owners_total_is_the_ledgers():
    lines = [[w for w in text(ledger).split("\n") if w.startswith("total")] for ledger in LEDGERS]
    totals = [line[0].split() for line in lines]
    assert totals[0] == totals[1]


LEDGERS = ("ledger --bytes", "ledger --by-arena --bytes")


@pytest.mark.parametrize("words", ["--sort arena", "--columns owner,arena"])
def test_who_asks_for_a_column_that_only_scripts_get_sees_their_table(words):
    heading = text(f"ledger {words}").split("\n\n")[1].splitlines()
    assert any("arena" in line.split() for line in heading[:2])


def test_a_later_table_is_sorted_by_a_column_that_only_it_has():
    bare, asked = data("pins")["tables"], data("pins --sort example")["tables"]
    assert asked[0] == bare[0]
    rows = asked[1]["rows"]
    assert rows != bare[1]["rows"]
    assert rows == sorted(rows, key=lambda row: int(row["example"], 16))


def test_columns_that_only_a_later_table_has_are_chosen_of_that_one():
    bare, asked = (text(line).split("\n\n") for line in ("pins", "pins --columns example,state"))
    assert asked[0] != bare[0]
    assert asked[0].splitlines()[1] == "state"
    assert asked[1].splitlines()[1].split() == ["example"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("arenas --sort bytes", "arenas has no column 'bytes': it is one of mmapped_total"),
    ],
)
def test_a_column_of_a_table_that_is_not_there_is_refused(line, words):
    with pytest.raises(UsageError, match=words):
        text(line, ONE_ARENA)


@pytest.mark.parametrize("column", ["example", "pins"])
def test_csv_has_the_first_table_that_has_the_columns(column):
    lines = text(f"pins --format csv --columns {column},looks").splitlines()
    groups = data("pins")["tables"][1]["rows"]
    assert lines[0] == f"{column},looks"
    assert len(lines) - 1 == len(groups) > 0


def test_csv_refuses_columns_that_no_table_has_together():
    with pytest.raises(UsageError, match="CSV has one table") as refused:
        text("pins --format csv --columns address,example")
    assert "Columns of pin_groups: held" in str(refused.value)


def test_what_text_has_above_a_column_names_it_too():
    asked = text("pins --columns holds,looks_like")
    assert asked == text("pins --columns held_resident,looks")
    assert asked.splitlines()[1].split() == ["holds", "looks", "like"]
    assert text("pins --sort holds") == text("pins --sort held_resident")


def test_check_is_one_line_where_all_holds():
    assert len(text("check").splitlines()) == 1
    assert text("check --all").count(" yes\n") == len(table(data("check")))


def test_check_lists_what_fails_and_no_more():
    shown, rows = text("check", DAMAGED), table(data("check", DAMAGED))
    failing = [row["check"] for row in rows if not row["ok"]]
    assert [line for line in shown.splitlines() if line.endswith(" no")]
    assert " yes\n" not in shown
    assert all(name in shown for name in failing)
    assert f"{len(failing)} of {len(rows)} checks failed, the others hold (--all lists them)." in (
        " ".join(shown.split())
    )


def test_mmapped_chunks_are_told_where_there_are_any():
    for image, told in ((KNOWN, True), (ONE_ARENA, False)):
        of_all = data("arenas", image)["tables"][1]
        assert (of_all["name"], bool(table_of(of_all)["chunks"])) == ("mmapped_total", told)
        assert (" in no arena: with " in " ".join(text("arenas", image).split())) == told


def table_of(one):
    (row,) = one["rows"]
    return row


@pytest.mark.parametrize("line", ["arenas 1", "heaps 0", "top 0", "trim 1"])
def test_one_row_has_no_total(line):
    whole = line.partition(" ")[0]
    assert "\ntotal" not in text(line)
    assert "\ntotal" in text(whole)
    assert "\ntotal" in text(f"{whole} --limit 1")
    assert data(line)["tables"][0]["total"]


SIZES = Schema("things", (Column("size", Kind.BYTES),), adds=())


@pytest.mark.parametrize(("known", "shown"), [(7, False), (8, True), (None, True)])
def test_a_total_that_is_not_its_only_row_stays(known, shown):
    whole = replace(SIZES.of([SimpleNamespace(size=7)]), total={"size": known})
    (kept,) = arrange(Report((whole,)), None, None, None, True).tables
    assert (kept.total is not None) == shown


def test_the_findings_that_are_cut_off_are_called_so():
    findings = len(data("why")["findings"])
    assert findings > 2
    assert f"{findings - 2} more findings (--limit)." in text("why --limit 2")
    assert f"{findings - 2} more rows (--limit)." in data("why --limit 2")["notes"]
