"""The smallest stages that exercise everything a partition does: they count events a key, and wake when asked."""

from __future__ import annotations

from typing import Any

import msgspec

from cartstream.errors import Refused
from cartstream.events import avro, topics
from cartstream.events.records import Watermark
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Headers, Output, Record, Stage, Step

KEEP: EventTime = 1_000_000


class Count(msgspec.Struct):
    """`waits` are the due times asked for, `fired` those that were met."""

    key: str
    n: int = 0
    waits: list[EventTime] = []
    fired: list[EventTime] = []


class Act(msgspec.Struct, omit_defaults=True):
    """What a record says, as JSON. `fail` makes the stage raise, as a defect in a program would. `verbatim`: passed on as it came."""

    key: str
    at: EventTime = 0
    wake_at: EventTime | None = None
    fail: bool = False
    forget: bool = False
    verbatim: bool = False
    raw: bytes = b""


class Received:
    """What Kafka says of a record beside its bytes."""

    def headers(self) -> Headers | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700_000_000_000


def record(offset: int, act: Act | bytes, topic: str = "toys") -> Record:
    value = act if isinstance(act, bytes) else msgspec.json.encode(act)
    return Record(topic, 0, offset, b"k", value, Received())


def watermark(offset: int, at: EventTime, source: str = "up:0", sources: int = 1) -> Record:
    return Record("toys", 0, offset, None, avro.codec().encode(Watermark(source, sources, at)))


class ToyStage:
    """Not first in its pipeline: its time comes with watermarks. Publishes `<key>:<n>` for each event, `<key>@<due>` for each wake-up."""

    name = "toy"
    source = "toys"
    sinks: tuple[str, ...] = ("counts",)

    def __init__(self) -> None:
        self.encode_state = msgspec.msgpack.Encoder().encode
        self.decode_state = msgspec.msgpack.Decoder(Count).decode

    def decode(self, record: Record) -> Act:
        try:
            return msgspec.json.decode(record.value, type=Act)
        except msgspec.ValidationError as error:
            raise ZeroDivisionError("a defect in decoding") from error
        except msgspec.DecodeError as error:
            raise Refused("unparseable", "not an act") from error

    def key_of(self, event: Act) -> str:
        return event.key

    def step(self, state: Count | None, event: Act, watermark: EventTime) -> Step[Count] | Output:
        if event.fail:
            raise ZeroDivisionError("a defect")
        if event.forget:
            return Step(None)
        state = state or Count(event.key)
        state.n += 1
        if event.wake_at is not None:
            state.waits = sorted([*state.waits, event.wake_at])
        outputs = [Output("counts", state.key, f"{state.key}:{state.n}".encode())]
        return Step(state, outputs, min(state.waits, default=None))

    def wake(self, state: Count, watermark: EventTime) -> Step[Count]:
        due = [at for at in state.waits if at <= watermark]
        state.waits = [at for at in state.waits if at > watermark]
        state.fired += due
        return Step(state, [Output("counts", state.key, f"{state.key}@{at}".encode()) for at in due], min(state.waits, default=None))


class FirstToyStage(ToyStage):
    """First in its pipeline: it reads the clickstream itself, and time comes from the events."""

    source = topics.CLICKSTREAM
    sinks: tuple[str, ...] = (topics.IDENTIFIED,)
    lateness_ms = 100

    def time_of(self, event: Act) -> EventTime:
        return event.at

    def decode(self, record: Record) -> Act:
        act = super().decode(record)
        act.raw = record.value
        return act

    def step(self, state: Count | None, event: Act, watermark: EventTime) -> Step[Count] | Output:
        if event.verbatim:
            return Output(topics.IDENTIFIED, event.key, event.raw)
        step = super().step(state, event, watermark)
        assert isinstance(step, Step)
        step.outputs = [Output(topics.IDENTIFIED, output.key, output.value) for output in step.outputs]
        return step


class SecondToyStage(ToyStage):
    """The toy on the topics of the first one: time comes with watermarks."""

    source = topics.CLICKSTREAM
    sinks: tuple[str, ...] = (topics.IDENTIFIED,)

    def step(self, state: Count | None, event: Act, watermark: EventTime) -> Step[Count] | Output:
        step = super().step(state, event, watermark)
        assert isinstance(step, Step)
        return self._here(step)

    def wake(self, state: Count, watermark: EventTime) -> Step[Count]:
        return self._here(super().wake(state, watermark))

    def _here(self, step: Step[Count]) -> Step[Count]:
        step.outputs = [Output(topics.IDENTIFIED, output.key, output.value) for output in step.outputs]
        return step


def as_stage(stage: ToyStage) -> Stage[Any]:
    return stage
