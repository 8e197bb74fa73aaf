"""A batch between reading and stepping: what is there already, and what has to be looked up first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from cartstream.errors import Fenced
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output, Record
from cartstream.runtime.store import StateStore

if TYPE_CHECKING:
    from cartstream.runtime.partition import Partition

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(slots=True)
class Draft(Generic[S]):
    """A batch that is read and not yet stepped. `missing` are the entries whose states must be loaded first."""

    partition: Partition[S]
    records: Sequence[Record]
    events: list[tuple[Record, str, Any]]
    entries: list[Entry[S] | None]
    missing: list[Entry[S]]
    work: Work[S]
    announce: bool
    may_be_light: bool

    def state_of(self, key: str) -> S | None:
        raw = self.partition.raw_of(key)
        return None if raw is None else self.partition.stage.decode_state(raw)


def complete(drafts: Sequence[Draft[Any]], store: StateStore) -> dict[int, Fenced]:
    """What drafts of one stage's partitions need before their steps, in few round trips. May be called again after Unavailable.

    Gives the partitions that a later owner turns out to have: what was read may be what that one wrote. Their drafts are of no use.
    """
    missing = {draft.partition.number: [entry.key for entry in draft.missing] for draft in drafts if draft.missing}
    found = store.load_all(missing) if missing else {}
    stored = store.sequences(list(missing)) if missing else {}
    ours = {draft.partition.number: draft.partition.generation for draft in drafts}
    fenced = {
        number: Fenced(f"partition {number}: generation {generation} has it, ours is {ours[number]}")
        for number, (_, generation) in stored.items()
        if generation > ours[number]
    }
    kept = [draft for draft in drafts if draft.partition.number not in fenced]
    for draft in kept:
        if draft.missing:
            draft.partition.fill(draft, found[draft.partition.number])
    if kept and (stage := kept[0].partition.prepares) is not None:
        stage.prepare(kept)
    return fenced


class Entry(Generic[S]):
    """A state: `raw` as it is kept, `state` while it is at hand. `armed` is its timer, as in `Timers`; `dirty` when it is to be packed."""

    __slots__ = ("armed", "dirty", "key", "raw", "state")

    def __init__(self, key: str) -> None:
        self.key = key
        self.raw: bytes | None = None
        self.state: S | None = None
        self.armed: EventTime | None = None
        self.dirty = False


class Work(Generic[S]):
    """What a batch gathers on its way."""

    __slots__ = ("dirty", "outputs", "states", "watermark", "woken")

    def __init__(self, watermark: EventTime) -> None:
        self.watermark = watermark
        self.dirty: list[Entry[S]] = []
        self.woken: list[Entry[S]] = []
        self.states: dict[str, bytes | None] = {}
        self.outputs: list[Output] = []
