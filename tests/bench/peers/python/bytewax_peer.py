"""The job on Bytewax: its Kafka sink is at least once; state in its recovery store, a snapshot every PEER_COMMIT_MS.

Run by `python -m bytewax.run tests.bench.peers.python.bytewax_peer:flow`.
"""

from __future__ import annotations

import os

import bytewax.operators as op  # type: ignore[import-not-found]
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource  # type: ignore[import-not-found]
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]

from tests.bench.peers.python.job import Click, Progress, Shopper, apply, decode, is_click, pack, unpack

progress = Progress()
BROKERS = os.environ["PEER_BROKERS"].split(",")


class Sessions(op.StatefulBatchLogic):  # type: ignore[misc]
    """One customer."""

    def __init__(self, snapshot: bytes | None) -> None:
        self.shopper = Shopper() if snapshot is None else unpack(snapshot)

    def on_batch(self, values: list[tuple[str, Click]]) -> tuple[list[bytes], bool]:
        facts: list[bytes] = []
        for customer, click in values:
            facts += apply(self.shopper, customer, click)
        progress.count(len(values))
        return facts, False

    def snapshot(self) -> bytes:
        return pack(self.shopper)


def parse(messages: list[KafkaSinkMessage]) -> list[tuple[str, tuple[str, Click]]]:
    return [((key := message.key.decode()), (key, decode(message.value))) for message in messages if is_click(message.value)]


def record(keyed: tuple[str, bytes]) -> KafkaSinkMessage:
    return KafkaSinkMessage(keyed[0].encode(), keyed[1])


flow = Dataflow("sessions")
source = KafkaSource(
    BROKERS,
    [os.environ["PEER_INPUT"]],
    tail=False,
    batch_size=10_000,
    add_config={"queued.min.messages": "100000", "queued.max.messages.kbytes": "131072"},
)
sink = KafkaSink(
    BROKERS,
    os.environ["PEER_OUTPUT"],
    add_config={"linger.ms": "5", "compression.type": "lz4", "batch.size": "1000000"},
)
parsed = op.flat_map_batch("parse", op.input("clicks", flow, source), parse)
op.output("facts", op.map("record", op.stateful_batch("sessions", parsed, Sessions), record), sink)
