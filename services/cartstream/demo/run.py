"""One run of the demo: warm up, play, settle, judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cartstream.demo.clock import DemoClock
from cartstream.demo.listener import Listener
from cartstream.demo.pipeline import Running, Stagecraft
from cartstream.demo.player import Player
from cartstream.demo.readings import Mailbox, Stage, read_stages
from cartstream.demo.truth import Message, percentile
from cartstream.demo.view import Picture
from cartstream.errors import CartstreamError, Unavailable
from cartstream.events import topics
from cartstream.events.adapters.recorded import Recorded
from cartstream.up.surroundings import PARTITIONS

QUIET_SECONDS = 2.0
_LOOK_S = 0.25
_READ_STAGES_S = 1.0


@dataclass(slots=True)
class Result:
    """What a run left: the real length of play and settling, and all that was received and listened to."""

    seconds: float
    events: int
    stages: dict[str, Stage]
    messages: list[Message]
    counts: dict[str, int]
    produced_ms: dict[str, int]
    latest_ms: float


@dataclass(slots=True)
class _Rates:
    """Differences between the last two readings."""

    at: float = 0.0
    stages: dict[str, Stage] = field(default_factory=dict)
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)

    def update(self, stages: dict[str, Stage]) -> None:
        now = time.monotonic()
        passed = now - self.at if self.stages else 0.0
        for name, stage in stages.items():
            before = self.stages.get(name)
            if before is not None and passed > 0:
                self.rates[name] = (stage.received - before.received) / passed, (stage.sent - before.sent) / passed
        self.at, self.stages = now, stages


class Run:
    """Plays `events` on a pipeline that is up. `finished(messages)` says whether all that must come has come."""

    def __init__(self, running: Running, clock: DemoClock, events: Sequence[Recorded], stage: Stagecraft) -> None:
        self._running, self._clock, self._stage = running, clock, stage
        self._player = Player(events, clock, running.brokers, topics.CLICKSTREAM)
        self._mailbox = Mailbox(running.fakes)
        self._rates = _Rates()
        self.listener = Listener(running.brokers, PARTITIONS)

    def play(self, finished: Callable[[list[Message]], bool], settle_s: float) -> Result:
        """Start the clock and play; then let time go on until `finished` and nothing has come for a while, at most `settle_s`.

        Raises CartstreamError when a service ends, or when the stage says stop.
        """
        self._running.processes.wait_ready(self._running.services)
        self.listener.start()
        try:
            self._player.prime(PARTITIONS)
            self._clock.start()
            self._player.start()
            self._watch("playing", lambda: not self._player.is_alive())
            self._settle(finished, settle_s)
            return self._result()
        finally:
            self._player.cancel()
            if self._player.is_alive():
                self._player.join()
            self.listener.close()

    def _settle(self, finished: Callable[[list[Message]], bool], settle_s: float) -> None:
        until = time.monotonic() + settle_s
        quiet_since = time.monotonic()
        known = -1

        def settled() -> bool:
            nonlocal quiet_since, known
            if len(self._mailbox.messages) != known or not finished(self._mailbox.messages):
                known, quiet_since = len(self._mailbox.messages), time.monotonic()
            return time.monotonic() - quiet_since >= QUIET_SECONDS or time.monotonic() >= until

        self._watch("settling", settled)

    def _watch(self, phase: str, done: Callable[[], bool]) -> None:
        while True:
            self._look()
            self._stage.show(self._picture(phase))
            if done():
                return
            if self._stage.stopping():
                raise CartstreamError("the demo was stopped before its end: nothing was judged")
            self._player.check()
            gone = self._running.processes.ended()
            if gone is not None:
                raise Unavailable(f"{gone[0]} ended with exit code {gone[1]}: see its log lines")
            time.sleep(_LOOK_S)

    def _look(self) -> None:
        self._mailbox.look()
        if time.monotonic() - self._rates.at >= _READ_STAGES_S:
            self._rates.update(read_stages(self._running.processes, self._running.services, self._rates.stages))

    def _picture(self, phase: str) -> Picture:
        messages = self._mailbox.messages
        return Picture(
            seconds=self._clock.elapsed_s,
            length=self._stage.duration,
            now=self._clock.now(),
            phase=phase,
            events=self._player.sent,
            stages=self._rates.stages,
            rates=self._rates.rates,
            latency=self._latency(),
            funnel=self.listener.funnel.copy(),
            messages={channel: sum(1 for message in messages if message.channel == channel) for channel in topics.CHANNELS},
            last=messages[-8:],
        )

    def _latency(self) -> tuple[float | None, float | None]:
        """Of exit nudges, by way of the command's cause: close to the final figure, which goes by the shoppers themselves."""
        found = []
        for message in self._mailbox.messages:
            command = self.listener.commands.get(message.command_id or "") if message.journey == "exit_intent" else None
            if command is not None:
                found.append(message.received_at - self._clock.real_ms(command.cause_at))
        return percentile(found, 0.5), percentile(found, 0.99)

    def _result(self) -> Result:
        seconds = self._clock.elapsed_s
        self._rates.update(read_stages(self._running.processes, self._running.services, self._rates.stages))
        self._mailbox.look()
        return Result(
            seconds,
            self._player.sent,
            self._rates.stages,
            list(self._mailbox.messages),
            self._mailbox.counts(),
            self._player.produced_ms,
            self._player.latest_ms,
        )
