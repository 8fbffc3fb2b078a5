"""The comparison of a page with what a command says fails where they differ."""

from __future__ import annotations

import pytest
from alike import differences

SHOWN = """fit, sizes in bytes
thread  arena  request   chunk  source        chunk at  remainder  grows
 14171      0   98,304  98,320  top     0x55e458f315e0     27,152      0

fit unusable, sizes in MiB, largest in bytes
reason                     chunks    bytes    largest
other arenas                5,995  2,048.7  1,261,904
other threads' tcaches      3,416      1.8      1,040
-----------------------------------------------------
total                       9,413  2,050.5"""


def test_a_text_is_like_itself_and_one_with_what_chance_decides():
    assert differences(SHOWN, SHOWN) == []
    assert differences(SHOWN, SHOWN.replace("0x55e458f315e0", "0x5605a0ee65e0")) == []
    assert differences(SHOWN, SHOWN.replace("2,048.7", "2,047.1")) == []


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("27,152", "27,168"),  # what the program decides
        ("3,416", "3,417"),
        ("2,048.7", "1,448.7"),  # what the load decides
        ("other arenas", "arenas"),
        ("top ", "large "),
        ("0x55e458f315e0", "-"),
        ("total                       9,413  2,050.5", ""),
    ],
)
def test_each_other_figure_and_word_counts(shown, said):
    assert SHOWN.count(shown) == 1
    assert differences(SHOWN, SHOWN.replace(shown, said))
    assert differences(SHOWN.replace(shown, said), SHOWN)


def test_which_free_chunk_fits_best_is_chance_but_not_that_one_does():
    of_a_piece = SHOWN.replace("top  ", "large")
    assert differences(of_a_piece, of_a_piece.replace("27,152", "   240")) == []
    wider = of_a_piece.replace("source", "source  ").replace("large ", "unsorted ")
    assert differences(of_a_piece, wider) == []
    whole = of_a_piece.replace("  remainder", "").replace("     27,152", "").replace("320", "336")
    assert differences(of_a_piece, whole) == []
    assert differences(of_a_piece, whole.replace(" 0\n", " 4,096\n"))
    assert differences(of_a_piece, SHOWN)
    (told,) = differences(of_a_piece, SHOWN)
    assert "but 'top" in told


def test_a_line_of_an_elision_stands_for_any_lines():
    first, _, rest = SHOWN.partition("\n\n")
    assert differences(f"{first}\n…", SHOWN) == []
    assert differences(f"{first}\n…\n{rest[-42:]}", SHOWN) == []
    assert differences(first, SHOWN)
    assert differences(f"…\n{rest}\n1", SHOWN)
