"""One engine over one backlog: started, metered, its output compared with the reference."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from cartstream.embedded.child import end, free_port
from cartstream.events import avro, topics
from cartstream.events.records import Activity
from tests.bench.ground import PARTITIONS, Ground, Service, service, wait_until
from tests.bench.peers.backlog import Backlog
from tests.bench.peers.building import BUILD
from tests.bench.peers.engines import Engine
from tests.bench.peers.facts import from_activity, from_peer
from tests.bench.peers.meter import Meter
from tests.bench.peers.records import committed_records
from tests.bench.peers.verdict import Verdict, compare

ROOT = Path(__file__).parents[3]
STALLED_S = 300
"""Without progress for so long, an engine is given up."""
ADMIN_S = 30
SAMPLE_S = 0.25
"""More often, and cartstream would be slowed down by telling its metrics."""
LAST_WORDS = 15


class Failed(Exception):
    """The engine ended before its work was done. The message has its last words."""


def run_peer(engine: Engine, on: Ground, backlog: Backlog) -> dict[str, Any]:
    """Raises Missing when it cannot be built here, and Failed."""
    run = f"{engine.name}-{uuid.uuid4().hex[:6]}"
    command = engine.command()
    preparation = engine.preparation() if engine.preparation is not None else None
    BUILD.mkdir(parents=True, exist_ok=True)
    with _own_topics(on, run), tempfile.TemporaryDirectory(dir=BUILD) as state:
        environment = {**os.environ, **_settings(engine, on, backlog, run, state)}
        if preparation is not None:
            subprocess.run(_filled(preparation, state), env=environment, check=True)
        meter = _metered(_filled(command, state), environment, on, backlog, Path(state, "log"))
        facts = (from_peer(message.key(), message.value()) for message in committed_records(on.brokers, run))
        verdict = compare(facts, backlog.reference.at_the_next_click())
    about = {"name": engine.name, "guarantee": engine.guarantee, "state": engine.state, "commit_ms": engine.commit_ms}
    return _row(about, backlog, meter, verdict)


def run_cartstream(on: Ground, backlog: Backlog) -> dict[str, Any]:
    """The sessions service as `cartstream run sessions` starts it. It writes watermarks into its input, so it has to come last."""
    with service("sessions", on.environment(backlog.prefix), free_port()) as sessions:
        assert sessions.process is not None
        meter = Meter({"engine": sessions.process.pid, "broker": on.broker_pid, "redis": on.redis_pid})
        _sample_until_done(sessions, backlog, meter)
        wait_until(lambda: _watermark_ms(sessions) >= backlog.watermark)
    told = (avro.codec().decode(message.value()) for message in committed_records(on.brokers, backlog.prefix + topics.ACTIVITY))
    facts = (from_activity(record) for record in told if isinstance(record, Activity))
    verdict = compare(facts, backlog.reference.by_watermark(backlog.watermark))
    about = {"name": "cartstream", "guarantee": "exactly once", "state": "Redis", "commit_ms": None}
    return _row(about, backlog, meter, verdict)


def _row(about: dict[str, Any], backlog: Backlog, meter: Meter, verdict: Verdict) -> dict[str, Any]:
    for example in verdict.examples:
        print(f"{about['name']}: {example}", file=sys.stderr)
    return {**about, "events": backlog.clicks, **meter.figures(), "check": verdict.counts()}


def _settings(engine: Engine, on: Ground, backlog: Backlog, run: str, state: str) -> dict[str, str]:
    return {
        "PEER_ID": run,
        "PEER_BROKERS": on.brokers,
        "PEER_INPUT": backlog.topic,
        "PEER_OUTPUT": run,
        "PEER_PARTITIONS": str(PARTITIONS),
        "PEER_EVENTS": str(backlog.clicks),
        "PEER_COMMIT_MS": str(engine.commit_ms),
        "PEER_STATE": state,
        **engine.settings,
    }


def _filled(command: list[str], state: str) -> list[str]:
    return [word.replace("{state}", state) for word in command]


@contextmanager
def _own_topics(on: Ground, output: str) -> Iterator[None]:
    """The output topic. It and whatever else the engine makes go at the end."""
    admin = AdminClient({"bootstrap.servers": on.brokers, "log_level": 3})
    before = set(admin.list_topics(timeout=ADMIN_S).topics)
    for future in admin.create_topics([NewTopic(output, PARTITIONS, 1)]).values():
        future.result(ADMIN_S)
    try:
        yield
    finally:
        new = set(admin.list_topics(timeout=ADMIN_S).topics) - before
        for future in admin.delete_topics([name for name in new if not name.startswith("__")]).values():
            future.result(ADMIN_S)


def _metered(command: list[str], environment: dict[str, str], on: Ground, backlog: Backlog, log: Path) -> Meter:
    """Run it to its end, a sample at each `PROGRESS n` that it prints. Raises Failed."""
    with log.open("wb") as errors:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
        try:
            meter = Meter({"engine": process.pid, "broker": on.broker_pid})
            done, said = _follow(process, meter)
        finally:
            code = process.poll()
            end(process)
    if code != 0 or done < backlog.clicks:
        words = [*said, *log.read_text(errors="replace").splitlines()][-LAST_WORDS:]
        raise Failed(f"ended with {code} after {done} clicks:\n" + "\n".join(words))
    return meter


def _follow(process: subprocess.Popen[bytes], meter: Meter) -> tuple[int, list[str]]:
    """To its end: how many clicks it said were done, and what else it said. One that stalls is killed."""
    done, said = 0, []
    assert process.stdout is not None
    with _Patience(process) as patience:
        for line in process.stdout:
            if line.startswith(b"PROGRESS "):
                done = int(line.split()[1])
                meter.sample(done)
                patience.renew()
            else:
                said.append(line.decode(errors="replace").rstrip())
        process.wait()
    return done, said


class _Patience:
    """Kills a process for which `renew` is not called in time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._alarm = threading.Timer(STALLED_S, process.kill)

    def __enter__(self) -> Self:
        self._alarm.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._alarm.cancel()

    def renew(self) -> None:
        self._alarm.cancel()
        self._alarm = threading.Timer(STALLED_S, self._process.kill)
        self._alarm.start()


def _sample_until_done(sessions: Service, backlog: Backlog, meter: Meter) -> None:
    """Its counter has other records of the topic in it, too: a click's share of them goes with each click."""
    share = backlog.clicks / (backlog.clicks + backlog.controls)
    wait_until(lambda: _done(sessions) > 0)
    moved_at, done = time.monotonic(), 0.0
    while done < backlog.clicks:
        before = done
        try:
            done = _done(sessions) * share
            meter.sample(done)
        except OSError as silent:  # too busy to answer, or gone
            if sessions.process is None or sessions.process.poll() is not None:
                raise Failed(f"ended after {done:.0f} of {backlog.clicks} clicks") from silent
        moved_at = time.monotonic() if done > before else moved_at
        if time.monotonic() > moved_at + STALLED_S:
            raise Failed(f"stalled after {done:.0f} of {backlog.clicks} clicks")
        time.sleep(SAMPLE_S)


def _done(sessions: Service) -> float:
    """What is written and published. A click that is late or a duplicate would be missed here: the bench makes none."""
    return sessions.value("cartstream_records_processed_total", outcome="ok")


def _watermark_ms(sessions: Service) -> int:
    name = "cartstream_watermark_timestamp_seconds"
    return round(min(sessions.value(name, partition=str(number)) for number in range(PARTITIONS)) * 1000)
