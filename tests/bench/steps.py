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
from cartstream.runtime.partition import Layout, Partition
from cartstream.runtime.settings import load
from cartstream.runtime.stage import Record
from cartstream.runtime.store import MemoryStore
from cartstream.runtime.timers import Timers
from cartstream.sessions.settings import SessionsSettings
from cartstream.sessions.stage import SessionsStage
from cartstream.sessions.state import CustomerState
from cartstream.sessions.step import ClickEvent
from tests.bench.ground import START
from tests.bench.traffic import clicks

LATENESS_MS = 5_000
EVERY = 1_000


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
    """Every part timed on its own, batch by batch, as a partition does them."""

    def __init__(self) -> None:
        self.stage = SessionsStage(load(SessionsSettings))
        self.cpu: dict[str, float] = defaultdict(float)
        self.by_kind: dict[str, list[float]] = defaultdict(list)
        self.states: dict[str, CustomerState | None] = {}
        self.stored: dict[str, bytes] = {}
        self._timers = Timers({})
        self._watermark = -(2**62)

    def batch(self, records: list[Record]) -> None:
        stage = self.stage
        begun = time.process_time()
        events = [(stage.key_of(event), event) for event in map(stage.decode, records)]
        begun = self._took("decode", begun)
        steps = [(key, self._step(key, event)) for key, event in events]
        begun = self._took("step", begun)
        self._watermark = max(event.at for _, event in events) - LATENESS_MS - 1
        for _, key in self._timers.pop_due(self._watermark):
            state = self.states[key]
            assert state is not None
            steps.append((key, self._keep(key, stage.wake(state, self._watermark))))
        begun = self._took("wake", begun)
        written = {key: stage.encode_state(state) for key, state in ((key, self.states[key]) for key in {key for key, _ in steps}) if state}
        begun = self._took("encode states", begun)
        encode = avro.codec().encode
        for _, step in steps:
            for output in step.outputs:
                if not isinstance(output.value, bytes):
                    encode(output.value)
        self._took("encode outputs", begun)
        self.stored.update(written)
        begun = time.process_time()
        for raw in written.values():
            stage.decode_state(raw)
        self._took("decode states", begun)

    def _took(self, part: str, begun: float) -> float:
        now = time.process_time()
        self.cpu[part] += now - begun
        return now

    def _step(self, key: str, event: Any) -> Any:
        return self._keep(key, self.stage.step(self.states.get(key), event, self._watermark))

    def _keep(self, key: str, step: Any) -> Any:
        self.states[key] = step.state
        if step.state is None:
            self._timers.cancel(key)
        self._timers.want(key, step.wake_at)
        return step


def kinds(records: list[Record]) -> dict[str, float]:
    """µs of a step by kind of event, its clock's own cost taken off."""
    run, spent = Run(), defaultdict(list)
    clock = time.perf_counter_ns
    idle = statistics.median(-(clock() - clock()) for _ in range(10_000))
    for record in records:
        event = run.stage.decode(record)
        key = run.stage.key_of(event)
        state = run.states.get(key)
        begun = clock()
        step = run.stage.step(state, event, run._watermark)
        spent[Action(event.action).name.lower() if isinstance(event, ClickEvent) else "control"].append(clock() - begun - idle)
        run._keep(key, step)
        if isinstance(event, ClickEvent):
            run._watermark = event.at - LATENESS_MS - 1
    return {kind: round(statistics.median(times) / 1000, 2) for kind, times in sorted(spent.items())}


def main(events: int = 200_000, customers: int = 10_000) -> None:
    records = identified(events, customers)
    gc.collect()
    gc.freeze()
    run = Run()
    for at in range(0, len(records), EVERY):
        run.batch(records[at : at + EVERY])
    parts = {part: round(seconds / len(records) * 1e6, 2) for part, seconds in run.cpu.items()}
    sizes = sorted(len(raw) for raw in run.stored.values())
    carts = sorted(len(run.stored[key]) for key, state in run.states.items() if state is not None and len(state.lines) == 3)
    print(
        json.dumps(
            {
                "name": "sessions steps",
                "records": len(records),
                "us_per_record": parts,
                "us_per_step_by_kind": kinds(records[: min(len(records), 100_000)]),
                "state_bytes": {"median": statistics.median(sizes), "p99": sizes[len(sizes) * 99 // 100], "largest": sizes[-1]},
                "state_bytes_with_three_lines": statistics.median(carts) if carts else None,
            }
        )
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
