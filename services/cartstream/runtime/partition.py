"""One partition of one service: from records read to the one batch to write. The same code live, in memory and in replay."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar, cast

import msgspec

from cartstream.errors import CartstreamError, PartitionHalted, Refused, Unavailable
from cartstream.events import avro
from cartstream.events.records import Watermark
from cartstream.runtime.dead_letters import dead_letter
from cartstream.runtime.drafts import Draft, Entry, Work, complete
from cartstream.runtime.layout import Layout
from cartstream.runtime.stage import Output, Prepares, Record, Repairs, Several, Source, Stage, Step
from cartstream.runtime.store import Batch, Checkpoint, Opened, StateStore, Wire
from cartstream.runtime.tally import Tally
from cartstream.runtime.timers import Timers
from cartstream.runtime.watermarks import UNKNOWN, AlignedWatermark, RecordWatermark

S = TypeVar("S", bound=msgspec.Struct)

STEP_FAILED = "step_failed"
# States stay encoded, and are unpacked, changed and packed this many records at a time. The objects of 50,000 customers lie all over the
# machine's memory and each look at one waits for it; bytes come in one go, and what is unpacked just now is near (a quarter of the
# sessions service's time, and a third of its memory).
CHUNK = 50
_AVRO = b"\0"


class StepFailed(CartstreamError):
    """A step, or a decode, raised what it must not: a defect in the program. The batch is done again with this record set aside."""

    def __init__(self, offset: int, error: Exception) -> None:
        super().__init__(f"step failed at offset {offset}: {type(error).__name__}")
        self.offset = offset
        self.error = error


class WakeFailed(PartitionHalted):
    """A wake-up raised: a defect in the program that no record can be set aside for. The partition stops."""


class Partition(Generic[S]):
    """Owns the timers, watermark, cache and sequence of one partition. Not thread-safe.

    `process` has no effect outside: call `StateStore.commit` with its batch, then `done`; if the write failed, throw the
    Partition away and open it again.
    """

    def __init__(self, stage: Stage[S], number: int, store: StateStore, opened: Opened, layout: Layout, generation: int = 0) -> None:
        found = opened.checkpoint or Checkpoint()
        self.stage = stage
        # Asked once: isinstance against a protocol looks up every member anew.
        self._source = stage if isinstance(stage, Source) else None
        self.prepares = stage if isinstance(stage, Prepares) else None
        self._repairs = stage if isinstance(stage, Repairs) else None
        self.number = number
        self._store = store
        self._layout = layout
        self._timers = Timers(opened.wakes, opened.known)
        self._cache: dict[str, Entry[S]] = {}
        self._limit = layout.cache_entries
        self.sequence = found.sequence
        self.generation = generation
        self.next_offset = found.next_offset
        self.watermark: RecordWatermark | AlignedWatermark = (
            RecordWatermark(self._source.lateness_ms, found.sources)
            if self._source is not None
            else AlignedWatermark(stage.name, found.expected, found.sources)
        )
        self.announced = self.announced_to_siblings = UNKNOWN
        self.tally = Tally()

    @property
    def timers_pending(self) -> int:
        return len(self._timers)

    def process(
        self, records: Sequence[Record], *, announce: bool = True, set_aside: frozenset[int] = frozenset(), may_be_light: bool = False
    ) -> Batch:
        """The batch that these records (in offset order) make, or the first of them, where time passes that wakes very many: the others
        (from the `next_offset` of its checkpoint on) are to be given again. `announce` passes the watermark on; `may_be_light`
        allows for a batch that is not written when it changes nothing but the time. Raises StepFailed, Unavailable, Fenced."""
        draft = self.read(records, announce=announce, set_aside=set_aside, may_be_light=may_be_light)
        for fenced in complete([draft], self._store).values():
            raise fenced
        return self.step(draft)

    def read(
        self, records: Sequence[Record], *, announce: bool = True, set_aside: frozenset[int] = frozenset(), may_be_light: bool = False
    ) -> Draft[S]:
        """The first half of `process`: decoded, with a place for each state. Then `complete`, then `step`; or throw it away, and begin
        anew. The draft has the records that it is of. Raises StepFailed, Unavailable."""
        self.tally = Tally(consumed=len(records))
        work = Work[S](self.watermark.value)
        if self._timers.known is not None:
            self._learn_timers()
        events, marks = self._decode(records, work, set_aside)
        passed, due = self._due(marks)
        if passed < len(marks):
            last = next(record.offset for record, _, event in events if event is marks[passed - 1])
            first = [record for record in records if record.offset <= last]
            return self.read(first, announce=announce, set_aside=set_aside, may_be_light=may_be_light)
        entries, missing = self._places(events, due)
        return Draft(self, records, events, entries, missing, work, announce, may_be_light)

    def fill(self, draft: Draft[S], found: Sequence[bytes | None]) -> None:
        """The states of what was missing."""
        armed = self._timers.armed
        for entry, raw in zip(draft.missing, found, strict=True):
            entry.raw = raw
            entry.armed = armed(entry.key)
            self._cache[entry.key] = entry
        draft.missing = []

    def step(self, draft: Draft[S]) -> Batch:
        """The second half of `process`. Raises StepFailed."""
        events, entries, work = draft.events, draft.entries, draft.work
        for start in range(0, len(events), CHUNK):
            at_hand = entries[start : start + CHUNK]
            self._unpack(at_hand)
            self._run(events[start : start + CHUNK], at_hand, work)
            self._pack(at_hand, work)
        if self.tally.newest != UNKNOWN and isinstance(self.watermark, RecordWatermark):
            self.watermark.observe(self.tally.newest)
        if draft.records:
            self.next_offset = draft.records[-1].offset + 1
        if draft.announce:
            self._announce(work)
        return self._batch(work, draft.may_be_light)

    def raw_of(self, key: str) -> bytes | None:
        """Of a key of the batch at hand."""
        return self._cache[key].raw

    def done(self, unwritten: Container[str] = ()) -> None:
        """The batch was written: the cache may shrink, but not by `unwritten` keys, which are stepped further and must
        not be read back from the store."""
        excess = len(self._cache) - self._limit
        if excess > 0:
            for key in list(islice((key for key in self._cache if key not in unwritten), excess)):
                del self._cache[key]

    def _decode(
        self, records: Iterable[Record], work: Work[S], set_aside: frozenset[int]
    ) -> tuple[list[tuple[Record, str, Any]], list[Watermark]]:
        stage, source = self.stage, self._source
        decode, key_of = stage.decode, stage.key_of
        header = self._layout.watermark_header
        events: list[tuple[Record, str, Any]] = []
        marks: list[Watermark] = []
        if self._repairs is not None:
            self._repairs.take_repairs()  # of an attempt given up
        for record in records:
            try:
                value = record.value
                if source is None and value[:1] == _AVRO and value[:5] == header:
                    mark = avro.codec().decode(value)
                    marks.append(mark)
                    events.append((record, "", mark))
                    continue
                if set_aside and record.offset in set_aside:
                    raise Refused(STEP_FAILED, "the program failed on this record: see the log, mend it, and replay it from here")
                event = decode(record)
                events.append((record, key_of(event), event))
            except Refused as refused:
                self._refuse(record, refused, work)
            except Several as several:
                events += [(record, key_of(event), event) for event in several.events]
                if several.refused is not None:
                    self._refuse(record, several.refused, work)
            except Unavailable:
                raise
            except Exception as error:
                raise StepFailed(record.offset, error) from error
        if source is not None and events:
            self.tally.newest = max(self.tally.newest, *map(source.time_of, [event for _, _, event in events]))
        if self._repairs is not None:
            for reason, count in self._repairs.take_repairs().items():
                self.tally.found["repaired", reason] = count
        return events, marks

    def _refuse(self, record: Record, refused: Refused, work: Work[S]) -> None:
        letter = dead_letter(self.stage.name, record, refused)
        self.tally.refused[refused.reason] = self.tally.refused.get(refused.reason, 0) + 1
        work.outputs.append(letter)

    def _due(self, marks: list[Watermark]) -> tuple[int, list[str]]:
        """How many of the marks one batch may pass, so that it wakes not many more than its limit, and who is due by then."""
        if not marks or not isinstance(self.watermark, AlignedWatermark):
            return len(marks), []
        passed, due = 0, list[str]()
        try:
            for ahead in self.watermark.after_each(marks):
                passed += 1
                while not self._timers.knows(ahead):
                    self._learn_timers()
                due += self._timers.look_ahead(ahead)
                if len(due) >= self._layout.wakes:
                    break
        finally:
            self._timers.look_back()
        return passed, due

    def _places(self, events: list[tuple[Record, str, Any]], due: list[str]) -> tuple[list[Entry[S] | None], list[Entry[S]]]:
        """The entry of each event, None for a watermark's; and those that are not here, also of who is due. They come into the cache
        when they are filled: nothing may look as if it had been loaded."""
        cache = self._cache
        entries: list[Entry[S] | None] = []
        missing: dict[str, Entry[S]] = {}
        for _, key, _ in events:
            entry = cache.get(key) or missing.get(key)
            if entry is None and key:
                entry = missing[key] = Entry(key)
            entries.append(entry)
        for key in due:
            if key not in cache and key not in missing:
                missing[key] = Entry(key)
        return entries, list(missing.values())

    def _learn_timers(self) -> None:
        """One page more of what the store has: a new owner begins with the first and reads the others beside its work."""
        assert self._timers.known is not None
        self._timers.learn(*self._store.wakes(self.number, self._timers.known))

    def _unpack(self, entries: list[Entry[S] | None]) -> None:
        decode = self.stage.decode_state
        for entry in entries:
            if entry is not None and entry.state is None and entry.raw is not None:
                entry.state = decode(entry.raw)

    def _run(self, events: list[tuple[Record, str, Any]], entries: list[Entry[S] | None], work: Work[S]) -> None:
        apply, keep, passed_on = self.stage.step, self._keep, work.outputs.append
        record = None
        try:
            for (record, _, event), entry in zip(events, entries, strict=True):
                if entry is None:
                    self._advance(event, work)
                    continue
                step = apply(entry.state, event, work.watermark)
                if isinstance(step, Output):
                    if step.value is record.value:
                        step.origin = record.offset
                    passed_on(step)
                else:
                    keep(entry, step, work)
        except WakeFailed:
            raise
        except Exception as error:
            raise StepFailed(record.offset if record else -1, error) from error

    def _advance(self, mark: Watermark, work: Work[S]) -> None:
        self.tally.count("control")
        assert isinstance(self.watermark, AlignedWatermark)
        self.watermark.update(mark)
        work.watermark = self.watermark.value
        self._fire(work)

    def _fire(self, work: Work[S]) -> None:
        for due, key in self._timers.pop_due(work.watermark):
            self.tally.fired += 1
            self.tally.latest_fire = max(self.tally.latest_fire, due)
            entry = self._cache.get(key)
            if entry is None:
                continue
            if entry.state is None:
                if entry.raw is None:
                    continue
                entry.state = self.stage.decode_state(entry.raw)
            entry.armed = None
            work.woken.append(entry)
            try:
                step = self.stage.wake(entry.state, work.watermark)
            except Exception as error:
                raise WakeFailed(
                    f"{self.stage.name} partition {self.number}: waking a state failed: {type(error).__name__}: {error}"
                ) from error
            self._keep(entry, step, work)

    def _keep(self, entry: Entry[S], step: Step[S], work: Work[S]) -> None:
        state = entry.state = step.state
        if step.changed and not entry.dirty:
            entry.dirty = True
            work.dirty.append(entry)
        if step.outputs:
            work.outputs.extend(step.outputs)
        if step.outcomes:
            for outcome in step.outcomes:
                self.tally.found[outcome] = self.tally.found.get(outcome, 0) + 1
        if state is None:
            self._timers.cancel(entry.key)
            entry.armed = None
        else:
            at = step.wake_at
            if at is not None and (entry.armed is None or at < entry.armed):
                self._timers.want(entry.key, at)
                entry.armed = at

    def _pack(self, entries: list[Entry[S] | None], work: Work[S]) -> None:
        """While the states are at hand: one that changes again in a later chunk is encoded again."""
        encode, states = self.stage.encode_state, work.states
        for entry in work.dirty:
            states[entry.key] = entry.raw = None if entry.state is None else encode(entry.state)
            entry.dirty = False
        work.dirty.clear()
        for entry in work.woken:
            entry.state = None
        work.woken.clear()
        for each in entries:
            if each is not None:
                each.state = None

    @property
    def has_news(self) -> bool:
        """The watermark has risen since it was last passed on."""
        mark = self.watermark
        return mark.value > self.announced or (isinstance(mark, AlignedWatermark) and mark.upstream > self.announced_to_siblings)

    def _announce(self, work: Work[S]) -> None:
        mark, name = self.watermark, f"{self.stage.name}:{self.number}"
        if isinstance(mark, AlignedWatermark) and mark.upstream > self.announced_to_siblings:
            self.announced_to_siblings = mark.upstream
            work.outputs.extend(self._marks(self.stage.source, Watermark(name, self._layout.source_partitions, mark.upstream)))
        if mark.value > self.announced:
            self.announced = mark.value
            for topic in self.stage.sinks:
                work.outputs.extend(self._marks(topic, Watermark(name, self._layout.source_partitions, mark.value)))

    def _marks(self, topic: str, mark: Watermark) -> list[Output]:
        return [Output(topic, None, mark, partition) for partition in range(self._layout.partitions)]

    def _batch(self, work: Work[S], may_be_light: bool) -> Batch:
        wakes = self._timers.take_new()
        light = may_be_light and not (work.states or wakes) and all(output.partition >= 0 for output in work.outputs)
        if not light:
            self.sequence += 1
        mark = self.watermark
        # Copies: this batch is written while the next one moves the watermark on.
        checkpoint = Checkpoint(self.sequence, self.generation, self.next_offset, dict(mark.sources), dict(mark.expected))
        return Batch(checkpoint, work.states, wakes, _encoded(work.outputs), self.tally, light=light, woken=work.watermark)


def _encoded(outputs: list[Output]) -> list[Wire]:
    """The outputs themselves, their values now bytes: an `Output` has a `Wire`'s shape, and a new object each costs 0.5 µs."""
    encode = avro.codec().encode
    for output in outputs:
        if not isinstance(output.value, bytes):
            output.value = encode(output.value)
    return cast(list[Wire], outputs)
