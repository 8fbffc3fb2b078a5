"""records.dataclass: the same as dataclasses.dataclass, but made with the first instance."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, field, fields, is_dataclass, replace

import pytest

from gdb_heapx.ending import HELD_BACK
from gdb_heapx.records import dataclass, made, make_all


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 2
    names: list[str] = field(default_factory=list, compare=False)

    @property
    def sum(self) -> int:
        return self.x + self.y


@dataclass(frozen=True)
class Lower:
    x: int


@dataclass(frozen=True)
class Upper(Lower):
    y: int = 1


@dataclass
class Counter:
    seen: int
    wished: int = 0

    def __post_init__(self) -> None:
        self.seen += 1


@dataclass(frozen=True)
class Unused:
    x: int = 1


class Plain(Lower):
    """No dataclass itself."""

    def __init__(self) -> None:
        super().__init__(7)


def test_an_instance_is_as_one_of_a_dataclass():
    point = Point(1)
    assert (point, point.sum, point.names) == (Point(x=1, y=2), 3, [])
    assert hash(point) == hash(Point(1))
    assert point != Point(2)
    assert repr(point) == "Point(x=1, y=2, names=[])"
    assert replace(point, y=5) == Point(1, 5)
    assert Point.__match_args__ == ("x", "y", "names")
    with pytest.raises(FrozenInstanceError):
        point.x = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]


def test_a_copy_and_a_pickle_are_equal():
    assert copy.copy(Point(1)) == copy.deepcopy(Point(1)) == pickle.loads(pickle.dumps(Point(1)))


def test_a_class_takes_over_the_fields_of_its_base_which_has_no_instance_yet():
    assert Upper(3) == Upper(3, 1)
    assert [each.name for each in fields(Upper)] == ["x", "y"]


def test_a_subclass_that_is_no_dataclass_begins_its_base():
    assert Plain().x == Plain().x == 7


def test_what_can_change_changes_and_is_seen_to_be_made():
    counter = Counter(1)
    counter.wished = 4
    assert counter == Counter(1, 4)


def test_before_the_first_instance_the_fields_are_there_if_asked_for():
    assert not is_dataclass(Unused)
    assert [each.name for each in fields(made(Unused))] == ["x"]
    assert made(Unused) is Unused
    assert made(int) is int


def test_many_threads_that_make_the_first_instance_get_the_same():
    @dataclass(frozen=True)
    class First:
        x: int

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(First, range(64))) == [First(x) for x in range(64)]


def test_all_that_are_declared_can_be_made_at_once_by_several_threads():
    @dataclass(frozen=True)
    class Early:
        x: int

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(make_all) for _ in range(4)]:
            future.result()
    assert [each.name for each in fields(Early)] == ["x"]
    assert Early(1) == Early(1)


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While a class is made, SIGINT arrives."""
    real = dataclasses.dataclass

    def interrupted(*args: type, **options: bool) -> type:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= {*HELD_BACK}
        signal.raise_signal(signal.SIGINT)
        return real(*args, **options)

    monkeypatch.setattr(dataclasses, "dataclass", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupting")
def test_ctrl_c_leaves_no_class_half_made():
    @dataclass(frozen=True)
    class Interrupted:
        x: int

    with pytest.raises(KeyboardInterrupt):
        Interrupted(1)
    assert Interrupted(2) == Interrupted(2)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()).isdisjoint(HELD_BACK)
