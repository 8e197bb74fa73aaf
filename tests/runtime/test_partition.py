from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartstream.events import avro
from cartstream.events.records import Watermark
from cartstream.runtime.dead_letters import RecordTooLarge
from cartstream.runtime.layout import Layout
from cartstream.runtime.partition import Partition, StepFailed
from cartstream.runtime.stage import Record
from cartstream.runtime.store import Batch, MemoryStore, Wire
from cartstream.runtime.watermarks import UNKNOWN
from tests.runtime.toy import Act, Count, FirstToyStage, Received, ToyStage, record, watermark

LAYOUT = Layout.of(1, 1)
READY = [watermark(0, 0), watermark(1, 0, "toy:0")]


class Desk:
    """One partition and its store: `do` processes and commits, as the loop would."""

    def __init__(self, stage: ToyStage | None = None, layout: Layout = LAYOUT, store: MemoryStore | None = None) -> None:
        self.stage = stage or ToyStage()
        self.layout = layout
        self.store = store or MemoryStore()
        self.open()

    def open(self) -> None:
        self.partition = Partition(self.stage, 0, self.store, self.store.open(0, 0), self.layout)

    def do(self, *records: Record, announce: bool = False) -> Batch:
        batch = self.partition.process(records, announce=announce)
        self.store.commit(0, batch)
        self.partition.done()
        return batch

    def state(self, key: str) -> Count | None:
        (raw,) = self.store.load(0, [key])
        return self.stage.decode_state(raw) if raw is not None else None


def said(batch: Batch) -> list[str]:
    return [wire.value.decode() for wire in batch.outbox if wire.topic == "counts" and wire.partition < 0]


def marks(outbox: list[Wire]) -> list[tuple[str, int, Watermark]]:
    return [(wire.topic, wire.partition, avro.codec().decode(wire.value)) for wire in outbox if wire.partition >= 0]


def has_news(desk: Desk) -> bool:
    return desk.partition.has_news


def test_a_batch_holds_states_outputs_and_the_next_offset() -> None:
    desk = Desk()
    batch = desk.do(record(5, Act("a")), record(6, Act("b")), record(9, Act("a")))

    assert said(batch) == ["a:1", "b:1", "a:2"]
    assert sorted(batch.states) == ["a", "b"]
    assert batch.checkpoint.next_offset == 10
    assert desk.state("a") == Count("a", 2)


def test_the_state_survives_another_owner_and_a_small_cache() -> None:
    desk = Desk(layout=Layout(1, 1, cache_entries=0, watermark_header=LAYOUT.watermark_header))
    desk.do(record(0, Act("a")))
    assert said(desk.do(record(1, Act("a")))) == ["a:2"]
    desk.open()
    assert said(desk.do(record(2, Act("a")))) == ["a:3"]


def test_a_state_that_is_forgotten_starts_again() -> None:
    desk = Desk()
    desk.do(record(0, Act("a", wake_at=50)))
    batch = desk.do(record(1, Act("a", forget=True)))

    assert (batch.states, batch.wakes) == ({"a": None}, [])
    assert desk.partition.timers_pending == 0
    assert desk.state("a") is None
    assert said(desk.do(record(2, Act("a")))) == ["a:1"]


def test_wake_ups_come_before_the_next_record_and_in_order_of_time() -> None:
    desk = Desk()
    desk.do(*READY, record(2, Act("b", wake_at=20)), record(3, Act("a", wake_at=10)), record(4, Act("c", wake_at=31)))
    batch = desk.do(watermark(5, 30), watermark(6, 30, "toy:0"), record(7, Act("a")))

    assert said(batch) == ["a@10", "b@20", "a:2"]
    assert (batch.wakes, batch.woken) == ([], 30)
    assert desk.store.open(0, 0).wakes == {"c": 31}


@pytest.mark.parametrize("size", [1, 2, 7])
def test_results_do_not_depend_on_where_batches_end(size: int) -> None:
    records = [
        *READY,
        record(2, Act("a", wake_at=20)),
        record(3, Act("b", wake_at=15)),
        watermark(4, 17),
        watermark(5, 16, "toy:0"),
        record(6, Act("a", wake_at=18)),
        watermark(7, 40),
        watermark(8, 19, "toy:0"),
        record(9, Act("b")),
        watermark(10, 40, "toy:0"),
    ]
    desk = Desk()
    together = [line for start in range(0, len(records), size) for line in said(desk.do(*records[start : start + size]))]
    assert together == ["a:1", "b:1", "b@15", "a:2", "a@18", "b:2", "a@20"]


def test_a_timer_survives_another_owner() -> None:
    desk = Desk()
    desk.do(*READY, record(2, Act("a", wake_at=20)))
    desk.open()
    assert said(desk.do(watermark(3, 30), watermark(4, 30, "toy:0"))) == ["a@20"]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 60), st.booleans()), max_size=30),
    st.lists(st.integers(1, 70), max_size=4),
)
def test_a_new_owner_fires_the_same_whether_it_reads_all_timers_at_once_or_two_at_a_time(
    acts: list[tuple[str, int, bool]], stops: list[int]
) -> None:
    def run(page: int) -> list[str]:
        desk = Desk(store=MemoryStore(page))
        desk.do(*READY)
        lines = []
        for offset, (key, at, forget) in enumerate(acts):
            if offset % 7 == 3:
                desk.open()
            lines += said(desk.do(record(10 + offset, Act(key, wake_at=None if forget else at, forget=forget))))
        for number, at in enumerate(sorted(stops)):
            desk.open()
            lines += said(desk.do(watermark(100 + 2 * number, at), watermark(101 + 2 * number, at, "toy:0")))
        return lines

    assert run(2) == run(10**6)


def test_a_sibling_that_lags_holds_back_wake_ups() -> None:
    desk = Desk(layout=Layout.of(2, 2))
    desk.do(record(0, Act("a", wake_at=20)), watermark(1, 90), watermark(2, 90, "toy:0", 2))
    assert desk.partition.watermark.value == UNKNOWN

    assert said(desk.do(watermark(3, 10, "toy:1", 2))) == []
    assert said(desk.do(watermark(4, 20, "toy:1", 2))) == ["a@20"]


def test_a_batch_that_wakes_as_many_as_it_may_takes_no_further_watermark() -> None:
    desk = Desk(layout=Layout.of(1, 1, wakes=2))
    desk.do(*READY, *[record(2 + at, Act(f"k{at}", wake_at=10 * at)) for at in range(1, 6)])
    letter, last = record(22, b"\xff no act"), record(24, Act("late"))
    backlog = [watermark(20, 100, "toy:0"), watermark(21, 25), letter, watermark(23, 60), last]

    first = desk.do(*backlog)
    assert (first.checkpoint.next_offset, first.tally.consumed, first.tally.refused) == (22, 2, {})
    assert said(first) == ["k1@10", "k2@20"]
    second = desk.do(*backlog[2:])
    assert second.checkpoint.next_offset == 25
    assert said(second) == ["k3@30", "k4@40", "k5@50", "late:1"]
    assert len([wire for wire in second.outbox if wire.topic == "toys.dlq"]) == 1


def test_what_cannot_be_decoded_goes_to_the_dead_letters_as_it_came() -> None:
    desk = Desk()
    batch = desk.do(record(7, Act("a")), record(8, b"\xff\x00 no act"), record(9, Act("a")))

    (letter,) = [wire for wire in batch.outbox if wire.topic == "toys.dlq"]
    assert letter.value == b"\xff\x00 no act"
    assert letter.key == "k"
    assert letter.headers == [
        ("cs-reason", b"unparseable"),
        ("cs-detail", b"not an act"),
        ("cs-service", b"toy"),
        ("cs-topic", b"toys"),
        ("cs-partition", b"0"),
        ("cs-offset", b"8"),
        ("cs-timestamp", b"1700000000000"),
    ]
    assert said(batch) == ["a:1", "a:2"]
    assert desk.partition.tally.refused == {"unparseable": 1}
    assert batch.checkpoint.next_offset == 10


def test_a_record_that_the_program_fails_on_is_named_and_can_be_set_aside() -> None:
    desk = Desk()
    desk.do(record(0, Act("a")))
    records = [record(1, Act("a")), record(2, Act("a", fail=True)), record(3, Act("a"))]
    with pytest.raises(StepFailed, match="offset 2: ZeroDivisionError") as failed:
        desk.partition.process(records)
    desk.open()
    batch = desk.partition.process(records, announce=False, set_aside=frozenset({failed.value.offset}))

    assert said(batch) == ["a:2", "a:3"]
    (letter,) = [wire for wire in batch.outbox if wire.topic == "toys.dlq"]
    assert letter.value == records[1].value
    assert ("cs-reason", b"step_failed") in (letter.headers or [])


class Headed(Received):
    def headers(self) -> list[tuple[str, bytes | None]]:
        return [("trace", b"\x00\xff"), ("trace", None)]


def test_a_dead_letter_keeps_the_headers_it_came_with_and_a_key_that_is_no_text() -> None:
    bad = msgspec.structs.replace(record(1, b"no act"), key=b"\xfe", message=Headed())
    batch = Desk().do(bad)

    (letter,) = [wire for wire in batch.outbox if wire.topic == "toys.dlq"]
    assert list(letter.headers or [])[:2] == [("trace", b"\x00\xff"), ("trace", None)]
    assert ("cs-key", b"\xfe") in (letter.headers or [])
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(batch.outbox), type=list[Wire])
    assert (again[0].headers, again[0].value) == (letter.headers, b"no act")


def test_an_outbox_of_an_earlier_release_still_reads() -> None:
    (wire,) = msgspec.msgpack.decode(msgspec.msgpack.encode([("toys.dlq", "k", b"x", -1, {"cs-reason": "a"})]), type=list[Wire])
    assert wire.headers == {"cs-reason": "a"}


def test_a_record_that_is_too_large_for_the_dead_letters_stops_its_partition_before_it() -> None:
    desk = Desk()
    with pytest.raises(RecordTooLarge, match=r"toys\[0\]: the record at offset 4 .* too large for toys.dlq") as halted:
        desk.do(record(3, Act("a")), record(4, b"x" * 12_000_000))

    assert halted.value.offset == 4
    assert said(desk.do(record(3, Act("a")))) == ["a:1"]


def test_a_record_that_decoding_fails_on_is_named_too() -> None:
    with pytest.raises(StepFailed, match="offset 4: ZeroDivisionError"):
        Desk().do(record(3, Act("a")), record(4, b"[]"))


def test_a_watermark_is_passed_on_once_to_siblings_and_then_downstream() -> None:
    desk = Desk(layout=Layout.of(1, 2))
    assert marks(desk.do(record(0, Act("a")), announce=True).outbox) == []

    told = Watermark("toy:0", 1, 50)
    assert marks(desk.do(watermark(1, 50), announce=True).outbox) == [("toys", 0, told), ("toys", 1, told)]
    assert has_news(desk) is False

    assert marks(desk.do(watermark(2, 50, "toy:0"), announce=False).outbox) == []
    assert has_news(desk) is True
    assert marks(desk.do(announce=True).outbox) == [("counts", 0, told), ("counts", 1, told)]
    assert has_news(desk) is False
    assert marks(desk.do(announce=True).outbox) == []


def test_a_new_owner_says_its_watermark_again() -> None:
    desk = Desk()
    desk.do(watermark(0, 50), watermark(1, 50, "toy:0"), announce=True)
    desk.open()
    assert desk.partition.has_news
    assert {topic for topic, _, _ in marks(desk.do(announce=True).outbox)} == {"toys", "counts"}


def test_the_first_stage_takes_its_time_from_the_events() -> None:
    desk = Desk(FirstToyStage())
    batch = desk.do(record(0, Act("a", at=1_000)), record(1, b"absurd"), record(2, Act("b", at=700)), announce=True)

    assert marks(batch.outbox) == [("clickstream.identified", 0, Watermark("toy:0", 1, 899))]
    assert batch.checkpoint.sources == {"": 899}


def test_a_watermark_on_the_clickstream_itself_is_an_unusable_record() -> None:
    desk = Desk(FirstToyStage())
    forged = avro.codec().encode(Watermark("toy:0", 1, 2**50))
    desk.do(record(0, forged))
    assert desk.partition.tally.refused == {"unparseable": 1}
    assert desk.partition.watermark.value == UNKNOWN


def test_a_wake_up_for_a_state_that_has_expired_is_let_go() -> None:
    desk = Desk()
    desk.do(*READY, record(2, Act("a", wake_at=20)))
    desk.store.states[0].clear()
    desk.open()

    batch = desk.do(watermark(3, 30), watermark(4, 30, "toy:0"))

    assert said(batch) == []
    assert desk.store.open(0, 0).wakes == {}


def test_a_batch_that_was_not_written_leaves_no_trace() -> None:
    desk = Desk()
    desk.do(record(0, Act("a")))
    desk.partition.process([record(1, Act("a", wake_at=10))])
    desk.open()

    assert said(desk.do(record(1, Act("a")))) == ["a:2"]
    assert msgspec.to_builtins(desk.store.open(0, 0).wakes) == {}
