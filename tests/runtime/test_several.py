"""Records that hold several events, records that must wait for a server, and repairs that are counted."""

from __future__ import annotations

import msgspec
import pytest

from cartstream.errors import Refused, Unavailable
from cartstream.runtime.layout import Layout
from cartstream.runtime.partition import Partition
from cartstream.runtime.stage import Record, Several
from cartstream.runtime.store import Batch, MemoryStore
from tests.runtime.toy import Act, Count, ToyStage, record

LISTED = msgspec.json.Decoder(list[Act | None])


class ManyStage(ToyStage):
    """A list of acts is several; null among them is refused. While it is `away`, a server must be asked first. `z` is mended to `a`."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self._mended = 0

    def decode(self, record: Record) -> Act:
        if self.away:
            raise Unavailable("the registry")
        if record.value.startswith(b"["):
            acts = LISTED.decode(record.value)
            missing = Refused("wrong_schema", "an act that is none") if None in acts else None
            raise Several([act for act in acts if act is not None], missing)
        act = super().decode(record)
        if act.key == "z":
            self._mended += 1
            act.key = "a"
        return act

    def take_repairs(self) -> dict[str, int]:
        taken, self._mended = self._mended, 0
        return {"spelling": taken} if taken else {}


def desk(stage: ManyStage) -> Partition[Count]:
    store = MemoryStore()
    return Partition(stage, 0, store, store.open(0, 0), Layout.of(1, 1))


def several(offset: int, *acts: Act | None) -> Record:
    return record(offset, msgspec.json.encode(acts))


def said(batch: Batch) -> list[str]:
    return [wire.value.decode() for wire in batch.outbox if wire.topic == "counts" and wire.partition < 0]


def test_several_events_of_one_record_are_stepped_in_their_order_with_the_next_offset_behind_it() -> None:
    batch = desk(ManyStage()).process([record(4, Act("a")), several(5, Act("a"), Act("b"), Act("a")), record(6, Act("b"))])
    assert said(batch) == ["a:1", "a:2", "b:1", "a:3", "b:2"]
    assert batch.checkpoint.next_offset == 7
    assert batch.tally.consumed == 3


def test_of_several_the_good_go_on_and_the_record_is_one_dead_letter_as_it_came() -> None:
    mixed = several(5, Act("a"), None, Act("b"), None)
    batch = desk(ManyStage()).process([mixed])
    assert said(batch) == ["a:1", "b:1"]
    (letter,) = [wire for wire in batch.outbox if wire.topic == "toys.dlq"]
    assert letter.value == mixed.value
    assert batch.tally.refused == {"wrong_schema": 1}


def test_a_server_that_must_be_asked_is_waited_for_and_nothing_is_set_aside() -> None:
    stage = ManyStage()
    partition = desk(stage)
    stage.away = True
    with pytest.raises(Unavailable, match="the registry"):
        partition.process([record(1, Act("a"))])
    stage.away = False
    batch = partition.process([record(1, Act("a"))])
    assert said(batch) == ["a:1"]
    assert batch.tally.refused == {}


def test_repairs_are_counted_by_reason_once_a_batch_that_is_written() -> None:
    stage = ManyStage()
    partition = desk(stage)
    assert partition.process([record(1, Act("z")), record(2, Act("z"))]).tally.found == {("repaired", "spelling"): 2}
    assert partition.process([record(3, Act("a"))]).tally.found == {}

    stage.decode(record(4, Act("z")))  # of an attempt that was given up
    assert partition.process([record(4, Act("z"))]).tally.found == {("repaired", "spelling"): 1}
