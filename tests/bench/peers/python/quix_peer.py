"""The job on Quix Streams: exactly once, state in RocksDB with a changelog, a commit every PEER_COMMIT_MS."""

from __future__ import annotations

import os
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found]

from tests.bench.peers.python.job import Progress, Shopper, apply, decode, is_click, pack, unpack

progress = Progress()
app = Application(
    broker_address=os.environ["PEER_BROKERS"],
    consumer_group=os.environ["PEER_ID"],
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=int(os.environ["PEER_COMMIT_MS"]) / 1000,
    state_dir=os.environ["PEER_STATE"],
    consumer_extra_config={"queued.min.messages": 200_000, "queued.max.messages.kbytes": 262_144},
    producer_extra_config={
        "linger.ms": 20,
        "compression.type": "lz4",
        "batch.size": 1_000_000,
        "queue.buffering.max.messages": 1_000_000,
    },
    loglevel="WARNING",
)


def step(value: bytes, key: bytes, timestamp: int, headers: Any, state: Any) -> list[bytes]:
    raw = state.get_bytes("shopper")
    shopper = Shopper() if raw is None else unpack(raw)
    facts = apply(shopper, key.decode(), decode(value))
    state.set_bytes("shopper", pack(shopper))
    if progress.count():
        app.stop()
    return facts


if __name__ == "__main__":
    clicks = app.topic(os.environ["PEER_INPUT"], key_deserializer="bytes", value_deserializer="bytes")
    facts = app.topic(os.environ["PEER_OUTPUT"], key_serializer="bytes", value_serializer="bytes")
    app.dataframe(clicks).filter(is_click).apply(step, stateful=True, expand=True, metadata=True).to_topic(facts)
    app.run()
