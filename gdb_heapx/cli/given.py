"""What a command is given: what is read of the target, and what it gets besides that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import HeapxError, UsageError
from .arguments import Asked
from .command import Command, Needs, find
from .scope import scope_of

if TYPE_CHECKING:
    from ..fit.ceilings import Ceiling
    from ..growth.watched import Watched
    from ..held.held import Held
    from ..inventory.catalogue import Catalogue
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot
    from .session import Session

HOLDING = (Needs.HELD, Needs.ASKED)
OF_CHUNKS = (Needs.CHUNKS, Needs.GROWTH)  # a Catalogue: nothing is walked over before


def holds(needs: Needs, options: Mapping[str, Any]) -> bool:
    """Tell whether the chunks in use may be held."""
    return needs in HOLDING and not options.get("brief")


def import_for(words: Sequence[str]) -> None:
    """Import what reads the target for a command line, if that names a command. `read` and
    `given_to` import it, too, but then the target stands still.
    """
    with suppress(UsageError):
        needs = find(words)[0].needs
        with suppress(ImportError):  # some Pythons lack ctypes
            from ..heap import compiled  # noqa: F401
        if needs in (*HOLDING, Needs.LIVE):
            from ..held.held import hold  # noqa: F401
        if needs is Needs.LIVE:
            from ..reach import brief  # noqa: F401
            from ..why import causes  # noqa: F401


def read(declared: Command, session: Session, options: dict[str, Any]) -> Snapshot | Catalogue:
    """Return what a command is about: the whole as a snapshot, or its single chunks."""
    _, needs = declared.way(options)
    if needs in OF_CHUNKS:
        return session.catalogue(scope_of(declared, options))
    return session.take(scope_of(declared, options))


def given_to(
    declared: Command,
    needs: Needs,
    session: Session,
    options: dict[str, Any],
    reading: Snapshot | Catalogue,
) -> dict[str, Any]:
    """Return what a command gets behind its reading: its own arguments, expressions by their
    values, and what else it needs.
    """
    own = {arg.key: options[arg.key] for arg in declared.own_args}
    for arg in declared.own_args:
        if arg.kind == "address":
            words = own[arg.key]
            text = words if isinstance(words, str) else " ".join(words or ())
            own[arg.key] = Asked(session.evaluate(text), text) if text else None
    if needs is Needs.BOTH:
        own.update(catalogue=session.catalogue(scope_of(declared, options)))
    if needs is Needs.SESSION:
        own.update(session=session, scope=scope_of(declared, options))
    if needs is Needs.HELD:
        from ..held.hidden import ways_of

        scope, shared = scope_of(declared, options), options.get("shared", False)
        held = session.hold(scope, shared, options["passes"], ways_of(own))
        asked = {"asked": declared.asks(held, **own)} if declared.asks else {}
        own.update(held=held, **asked)
    if needs is Needs.ASKED and declared.asks:
        own.update(asked=declared.asks(reading, session, scope_of(declared, options), **own))
    return {**own, **_looked_at(declared, needs, session, reading, options)}


def _looked_at(
    declared: Command,
    needs: Needs,
    session: Session,
    reading: Snapshot | Catalogue,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Return what a command is given that is looked at when the rest has been read."""
    found: dict[str, Any] = {}
    if needs is Needs.GROWTH:
        found.update(watched=_watched(session, reading, options))
    if needs is Needs.LIVE:
        found.update(held=_quickly(session, reading, options))
    if declared.ceilings:
        brief = options.get("brief")
        scope = scope_of(declared, options)
        found.update(ceilings=() if brief else _ceilings(session, scope, reading))
    return found


def _quickly(
    session: Session, reading: Snapshot | Catalogue, options: dict[str, Any]
) -> Held | None:
    """Return the chunks in use, where what they are is known within the time of the reading."""
    from ..held.costs import is_telling
    from ..snapshots.malloc import Scope
    from ..snapshots.take import Snapshot

    if not isinstance(reading, Snapshot) or not is_telling(reading):
        return None
    with suppress(HeapxError):
        return session.hold(Scope(swap_in=options["swap_in"]), shared=False, passes=False)
    return None


def _ceilings(session: Session, scope: Scope, reading: Snapshot | Catalogue) -> tuple[Ceiling, ...]:
    """Return what arenas can serve from what is free; nothing without a glibc malloc."""
    from ..fit.ceilings import ceilings
    from ..snapshots.take import Snapshot

    with suppress(HeapxError):
        if isinstance(reading, Snapshot):
            return ceilings(session.catalogue(scope).opened, reading)
    return ()


def _watched(session: Session, reading: Snapshot | Catalogue, options: dict[str, Any]) -> Watched:
    from ..growth.watched import Wishes
    from ..inventory.catalogue import Catalogue

    assert isinstance(reading, Catalogue)
    wishes = Wishes(options["seconds"], options["stop_after"], options["max_load"])
    return session.growth(reading, wishes)


def in_passes(given: dict[str, Any]) -> bool:
    """Tell whether what is held must be read again and again, while the target stands still."""
    held = given.get("held")
    return held is not None and held.lots.passes


def told(needs: Needs, given: dict[str, Any]) -> dict[str, Any]:
    """Return what a command gets; what is in use in brief, where it needs no more of that."""
    if needs is not Needs.LIVE or "brief" in given:
        return given
    from ..reach.brief import in_brief  # most processes have too much in use for it

    held = given["held"]
    others = {name: value for name, value in given.items() if name != "held"}
    return {**others, "brief": None if held is None else in_brief(held)}
