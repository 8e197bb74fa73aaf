"""What sessions cost without Kafka and Redis: CPU time an event of the benchmark's traffic, part by part, in one process.

    python -m tests.bench.steps [EVENTS] [CUSTOMERS]

One JSON line: µs an event for each part, for a step by kind of event, and how many bytes a state has in the end. Watermarks come
every thousand events, as in a busy pipeline, and wake what is due.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections import defaultdict
from typing import Any

from cartstream.events import avro, topics
from cartstream.events.clicks import Action
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.settings import IdentitySettings
from cartstream.identity.stage import IdentityStage
from cartstream.runtime.layout import Layout
from cartstream.runtime.partition import Partition
from cartstream.runtime.settings import load
from cartstream.runtime.stage import Record
from cartstream.runtime.store import MemoryStore
from cartstream.runtime.timers import Timers
from cartstream.sessions.incoming import ClickEvent
from cartstream.sessions.settings import SessionsSettings
from cartstream.sessions.stage import SessionsStage
from cartstream.sessions.state import CustomerState
from tests.bench.ground import START
from tests.bench.traffic import clicks

LATENESS_MS = 5_000
EVERY = 1_000
CHUNK = 50


def identified(events: int, customers: int) -> list[Record]:
    """What identity makes of the traffic."""
    secrets = {"hash_key": "benchmark-only-" * 3, "vault_keys": "k1=" + "A" * 43 + "="}
    stage, store = IdentityStage(load(IdentitySettings, **secrets), MemoryDirectory(), None), MemoryStore()
    partition = Partition(stage, 0, store, store.open(0, 0), Layout.of(1, 1, 10**9))
    given = [Record(topics.CLICKSTREAM, 0, n, key.encode(), raw) for n, (key, raw) in enumerate(clicks(events, customers, START))]
    outputs = [wire for at in range(0, events, EVERY) for wire in partition.process(given[at : at + EVERY], announce=False).outbox]
    return [
        Record(topics.IDENTIFIED, 0, n, None if wire.key is None else wire.key.encode(), wire.value)
        for n, wire in enumerate(outputs)
        if wire.topic == topics.IDENTIFIED
    ]


class Run:
    """Every part timed on its own, batch by batch, as a partition does them: states are unpacked, changed and packed some at a time."""

    def __init__(self) -> None:
        self.stage = SessionsStage(load(SessionsSettings))
        self.cpu: dict[str, float] = defaultdict(float)
        self.stored: dict[str, bytes] = {}
        self.watermark = -(2**62)
        self._timers = Timers({})

    def batch(self, records: list[Record]) -> None:
        stage = self.stage
        begun = time.process_time()
        events = [(stage.key_of(event), event) for event in map(stage.decode, records)]
        self._took("decode records", begun)
        for start in range(0, len(events), CHUNK):
            self._chunk(events[start : start + CHUNK])
        self.watermark = max(event.at for _, event in events if isinstance(event, ClickEvent)) - LATENESS_MS - 1
        begun = time.process_time()
        for _, key in self._timers.pop_due(self.watermark):
            self._keep(key, stage.wake(stage.decode_state(self.stored[key]), self.watermark))
        self._took("wake", begun)

    def _chunk(self, events: list[tuple[str, Any]]) -> None:
        stage, stored = self.stage, self.stored
        begun = time.process_time()
        states: dict[str, CustomerState | None] = {key: stage.decode_state(stored[key]) if key in stored else None for key, _ in events}
        begun = self._took("decode states", begun)
        steps = []
        for key, event in events:
            step = stage.step(states[key], event, self.watermark)
            states[key] = step.state
            steps.append(step)
        begun = self._took("step", begun)
        for key, state in states.items():
            if state is not None:
                stored[key] = stage.encode_state(state)
        begun = self._took("encode states", begun)
        encode = avro.codec().encode
        for step in steps:
            for output in step.outputs:
                if not isinstance(output.value, bytes):
                    encode(output.value)
        self._took("encode outputs", begun)
        for (key, _), step in zip(events, steps, strict=True):
            if step.wake_at is not None:
                self._timers.want(key, step.wake_at)

    def _keep(self, key: str, step: Any) -> None:
        if step.state is None:
            del self.stored[key]
            self._timers.cancel(key)
        else:
            self.stored[key] = self.stage.encode_state(step.state)
            self._timers.want(key, step.wake_at)

    def _took(self, part: str, begun: float) -> float:
        now = time.process_time()
        self.cpu[part] += now - begun
        return now


def kinds(run: Run, records: list[Record]) -> dict[str, float]:
    """µs of a step by kind of event, on the states that the run left behind; the least of several tries."""
    of: dict[str, list[Any]] = defaultdict(list)
    for record in records:
        event = run.stage.decode(record)
        of[Action(event.action).name.lower() if isinstance(event, ClickEvent) else "control"].append(event)
    return {kind: round(min(_once(run, events[:500]) for _ in range(20)), 2) for kind, events in sorted(of.items())}


def _once(run: Run, events: list[Any]) -> float:
    stage = run.stage
    at_hand = [(stage.decode_state(run.stored[key]) if (key := stage.key_of(event)) in run.stored else None, event) for event in events]
    begun = time.perf_counter()
    for state, event in at_hand:
        stage.step(state, event, run.watermark)
    return (time.perf_counter() - begun) / len(events) * 1e6


def whole(records: list[Record]) -> float:
    """µs an event of CPU time in a real partition on a store in memory, 5,000 records a batch."""
    store = MemoryStore()
    partition = Partition(SessionsStage(load(SessionsSettings)), 0, store, store.open(0, 0), Layout.of(1, 1))
    begun = time.process_time()
    for start in range(0, len(records), 5_000):
        store.commit(0, partition.process(records[start : start + 5_000]))
        partition.done()
    return (time.process_time() - begun) / len(records) * 1e6


def main(events: int = 200_000, customers: int = 10_000) -> None:
    records = identified(events, customers)
    gc.collect()
    gc.freeze()
    run, last = Run(), len(records) * 9 // 10 // EVERY * EVERY
    for at in range(0, last, EVERY):
        run.batch(records[at : at + EVERY])
    parts = {part: round(seconds / last * 1e6, 2) for part, seconds in run.cpu.items()}
    sizes = sorted(map(len, run.stored.values()))
    states = map(run.stage.decode_state, run.stored.values())
    carts = [len(run.stored[state.customer_id]) for state in states if not state.unsettled and len(state.open()[0].lines) == 3]
    line = {
        "name": "sessions steps",
        "records": len(records),
        "us_per_record": {**parts, "sum": round(sum(parts.values()), 2)},
        "us_per_record_in_a_partition": round(whole(records), 2),
        "us_per_step_by_kind": kinds(run, records[last:]),
        "state_bytes": {"median": statistics.median(sizes), "p99": sizes[len(sizes) * 99 // 100], "largest": sizes[-1]},
        "state_bytes_with_three_lines": statistics.median(carts) if carts else None,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
