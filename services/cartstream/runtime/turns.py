"""What each partition does in a round: from its records to the batch to write."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from cartstream.errors import Fenced, PartitionHalted
from cartstream.runtime.clock import Clock
from cartstream.runtime.commitment import Owned
from cartstream.runtime.dead_letters import RecordTooLarge
from cartstream.runtime.drafts import Draft, complete
from cartstream.runtime.halts import Halts
from cartstream.runtime.log import logger
from cartstream.runtime.partition import StepFailed
from cartstream.runtime.patience import Patience
from cartstream.runtime.settings import StageSettings
from cartstream.runtime.stage import Record, Remembers, Stage
from cartstream.runtime.store import Batch, StateStore
from cartstream.runtime.takeover import Takeover
from cartstream.runtime.watermarks import RecordWatermark

# Polls come every few milliseconds, and lateness covers a second.
ASLEEP_S = 1.0
LIGHT_S = 1.0
"""How long a partition's progress may stay unwritten while nothing but time passes."""


@dataclass(slots=True)
class Turn:
    """What one partition does in a round. `again`: Kafka has the outputs of some of it already."""

    number: int
    owned: Owned
    records: list[Record]
    announce: bool
    may_be_light: bool
    again: bool


class Turns:
    """`owned` is the loop's. `settle` brings the write under way to its end, and may take partitions away; `throw_out` takes one away that
    somebody else turns out to have."""

    def __init__(
        self,
        stage: Stage[Any],
        settings: StageSettings,
        store: StateStore,
        clock: Clock,
        patience: Patience,
        takeover: Takeover,
        owned: dict[int, Owned],
        halts: Halts,
        settle: Callable[[], None],
        throw_out: Callable[[int, Fenced], None],
        idle_grace_s: float,
    ) -> None:
        self._stage = stage
        self._settings = settings
        self._store = store
        self._clock = clock
        self._patience = patience
        self._takeover = takeover
        self._owned = owned
        self._halts = halts
        self._settle = settle
        self._throw_out = throw_out
        self._idle_grace_s = idle_grace_s
        self._polled_at, self._asked_at = time.monotonic(), clock.now()

    def begin(self) -> None:
        """Before each poll. What is caught up then has everything up to now. After a pause of the process (a stopped one wakes up, a host
        swaps) nobody knows how quiet its partitions were: their grace begins anew."""
        now = time.monotonic()
        if now - self._polled_at > ASLEEP_S:
            for owned in self._owned.values():
                owned.read_at = now
        self._polled_at, self._asked_at = now, self._clock.now()

    def take(self, records: dict[int, list[Record]]) -> dict[int, Batch]:
        """What each partition makes of its records. The states of all are read, and looked up, together: few round trips a round."""
        now = time.monotonic()
        turns = [turn for number in self._owned if (turn := self._turn(number, records.get(number, []), now)) is not None]
        drafts = self._patience.insist(lambda: self._drafts(turns), self.forget) or {}
        batches: dict[int, Batch] = {}
        for turn in turns:
            batch = self._batch_or_halt(turn, drafts.get(turn.number))
            if batch is not None:
                turn.records = turn.owned.hold(turn.records, batch)
                _note(turn, batch, now)
                batches[turn.number] = batch
        return batches

    def _turn(self, number: int, records: list[Record], now: float) -> Turn | None:
        """None for a partition that has nothing to do."""
        owned = self._owned[number]
        if number in self._halts:
            return None
        mine, again = owned.next_of(records), owned.repeating
        by_clock = self._let_time_pass(owned, self._polled_at)
        # The clock has news in every round. News that came from upstream must not wait: they would at every service of the chain.
        interval = self._settings.idle_ms if by_clock else self._settings.announce_ms
        announce = now - owned.announced_at >= interval / 1000 and not again
        overdue = now - owned.written_at >= LIGHT_S
        if not mine and not (announce and owned.partition.has_news) and not (overdue and owned.unwritten):
            return None
        return Turn(number, owned, mine, announce, may_be_light=not (overdue or again), again=again)

    def _drafts(self, turns: list[Turn]) -> dict[int, Draft[Any]]:
        """Complete, for each partition whose records can all be read; the others have something to be set aside, one by one."""
        self._look_for_lost_writes()
        drafts: dict[int, Draft[Any]] = {}
        for turn in turns:
            if not self._has(turn):
                continue
            try:
                drafts[turn.number] = turn.owned.partition.read(turn.records, announce=turn.announce, may_be_light=turn.may_be_light)
            except (StepFailed, PartitionHalted):
                continue
        for number, error in complete(list(drafts.values()), self._store).items():
            del drafts[number]
            self._throw_out(number, error)
        return drafts

    def _has(self, turn: Turn) -> bool:
        """The partition is still the one that the turn began with."""
        return self._owned.get(turn.number) is turn.owned

    def _look_for_lost_writes(self) -> None:
        """A partition whose writes the store has lost must not look anything up with what it knows from before, nor tell anybody of it:
        it is thrown out. Raises Unavailable."""
        while doubt := self._store.doubt:
            self._settle()
            for number, (sequence, generation) in self._store.sequences(list(self._owned)).items():
                stored = self._owned[number].stored
                if sequence != stored:
                    self._throw_out(number, Fenced(f"partition {number}: write {sequence} of {generation} is stored, ours was {stored}"))
            self._store.dispel(doubt)

    def _batch_or_halt(self, turn: Turn, draft: Draft[Any] | None) -> Batch | None:
        """None when there is none: the service is stopping, or the partition stops. What comes before a record too large is still done."""
        try:
            return self._batch(turn, draft)
        except RecordTooLarge as error:
            self._halts.add(turn.number, str(error))
            turn.records = [record for record in turn.records if record.offset < error.offset]
            return self._batch(turn, None) if turn.records else None
        except Fenced as error:
            self._throw_out(turn.number, error)
            return None
        except PartitionHalted as error:
            del self._owned[turn.number]
            self._halts.add(turn.number, str(error))
            return None

    def _batch(self, turn: Turn, draft: Draft[Any] | None) -> Batch | None:
        """The partition's batch, with records that the program fails on set aside; None when the service is stopping, or when settling
        another's has taken this one away."""
        aside: frozenset[int] = frozenset()
        while self._has(turn):
            try:
                if draft is not None:
                    return draft.partition.step(draft)
                return self._patience.insist(partial(self._process, turn, aside), self.forget)
            except StepFailed as failed:
                said = {"partition": turn.number, "offset": failed.offset}
                logger().error("a step failed: the record goes to the dead letters", **said, exc_info=failed.error)
                draft, aside = None, aside | {failed.offset}
                if not self._open_again(turn):
                    return None
        return None

    def _process(self, turn: Turn, aside: frozenset[int]) -> Batch | None:
        """From the beginning. None when the partition has been lost by then. Raises StepFailed, Unavailable, Fenced."""
        self._look_for_lost_writes()
        if not self._has(turn):
            return None
        return turn.owned.partition.process(turn.records, announce=turn.announce, set_aside=aside, may_be_light=turn.may_be_light)

    def _open_again(self, turn: Turn) -> bool:
        """Throw away what a failed step may have left half done. False when the partition is gone or the service is stopping. Raises
        Fenced."""
        self._settle()
        if not self._has(turn):
            return False
        partition = self._takeover.again(turn.number, turn.owned.partition.generation)
        if partition is None:
            return False
        if partition.sequence != turn.owned.stored:
            raise Fenced(f"partition {turn.number}: write {partition.sequence} is stored, ours was {turn.owned.stored}")
        turn.owned.partition = partition
        return True

    def _let_time_pass(self, owned: Owned, now: float) -> bool:
        """A clickstream partition that is caught up and has been quiet for the grace follows the clock. Whether it does."""
        watermark = owned.partition.watermark
        if isinstance(watermark, RecordWatermark) and owned.caught_up and now - owned.read_at >= self._idle_grace_s:
            watermark.follow_clock(self._asked_at)
            return True
        return False

    def forget(self) -> None:
        """Before work that was begun, here or elsewhere, is done again."""
        if isinstance(self._stage, Remembers):
            self._stage.forget()


def _note(turn: Turn, batch: Batch, now: float) -> None:
    owned = turn.owned
    owned.unwritten = batch.light
    if not batch.light:
        owned.written_at = now
    if turn.again and turn.records[-1].offset < owned.published:
        batch.outbox, batch.published = [], True
    if turn.announce:
        owned.announced_at = now
