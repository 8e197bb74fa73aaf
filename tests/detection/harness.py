"""Feeds records and watermarks to a stage as a partition would: states and records go through their real encodings."""

from __future__ import annotations

from typing import Any

import msgspec

from cartstream.events import avro
from cartstream.events.times import EventTime
from cartstream.runtime.stage import Output, Record, Stage

START: EventTime = -(2**62)
END: EventTime = 2**61


class Partition:
    """One stage with all its customers. What the stage writes to its own source comes back to it, after everything given so far."""

    def __init__(self, stage: Stage[Any]) -> None:
        self.stage = stage
        self.watermark = START
        self.outputs: list[Output] = []
        self.outcomes: list[tuple[str, str]] = []
        self.states: dict[str, bytes] = {}
        self._wakes: dict[str, EventTime] = {}

    def feed(self, *values: msgspec.Struct) -> None:
        for value in values:
            event = self.stage.decode(Record(self.stage.source, 0, 0, None, avro.codec().encode(value)))
            key = self.stage.key_of(event)
            self._settle(key, self.stage.step(self._state(key), event, self.watermark))

    def advance(self, watermark: EventTime) -> None:
        """Never backwards."""
        self.watermark = max(self.watermark, watermark)
        while due := [(at, key) for key, at in self._wakes.items() if at <= self.watermark]:
            key = min(due)[1]
            self._settle(key, self.stage.wake(self._state(key), self.watermark))

    def published(self, topic: str) -> list[Any]:
        return [output.value for output in self.outputs if output.topic == topic]

    def _state(self, key: str) -> Any:
        raw = self.states.get(key)
        return self.stage.decode_state(raw) if raw is not None else None

    def _settle(self, key: str, step: Any) -> None:
        self.states.pop(key, None)
        self._wakes.pop(key, None)
        if step.state is not None:
            self.states[key] = self.stage.encode_state(step.state)
            if step.wake_at is not None:
                self._wakes[key] = step.wake_at
        self.outcomes += step.outcomes
        self.outputs += step.outputs
        for output in step.outputs:
            if output.topic == self.stage.source:
                self.feed(output.value)
