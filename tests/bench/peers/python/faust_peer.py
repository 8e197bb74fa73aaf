"""The job on faust-streaming: exactly once, state in a table in memory with a changelog, a commit every PEER_COMMIT_MS."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import faust
from msgspec import convert, to_builtins

from tests.bench.peers.python.job import Progress, Shopper, apply, decode, is_click

progress = Progress()
COMMIT_S = int(os.environ["PEER_COMMIT_MS"]) / 1000
logging.disable(logging.INFO)  # faust builds a debug record for every message sent, even at -l warn
app = faust.App(
    os.environ["PEER_ID"],
    broker="kafka://" + os.environ["PEER_BROKERS"],
    store="memory://",
    datadir=os.environ["PEER_STATE"],
    processing_guarantee="exactly_once",
    key_serializer="raw",
    value_serializer="raw",
    topic_partitions=int(os.environ["PEER_PARTITIONS"]),
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    broker_max_poll_records=5_000,
    broker_commit_interval=COMMIT_S,
    producer_linger=0.02,
    producer_max_batch_size=500_000,
    producer_compression_type="lz4",
    stream_wait_empty=False,
    stream_buffer_maxsize=16_384,
    web_enabled=False,
)
clicks = app.topic(os.environ["PEER_INPUT"], key_serializer="raw", value_serializer="raw")
facts = app.topic(os.environ["PEER_OUTPUT"], key_serializer="raw", value_serializer="raw")
# What a table holds must survive its JSON codec when it recovers, so the state is kept as plain lists.
shoppers = app.Table("shoppers", partitions=int(os.environ["PEER_PARTITIONS"]))


async def finish() -> None:
    """A faust worker has no end of its own: commit, flush, leave."""
    await asyncio.sleep(COMMIT_S * 2 + 2)
    await app._producer.flush()  # type: ignore[union-attr]
    os._exit(0)


# An event at a time: stream.take() would let each key be written once a batch, but a table cannot be written there.
@app.agent(clicks)
async def sessions(stream: Any) -> None:
    async for key, value in stream.items():
        if not is_click(value):
            continue
        customer = key.decode()
        known = shoppers.get(customer)
        shopper = Shopper() if known is None else convert(known, Shopper)
        told = apply(shopper, customer, decode(value))
        shoppers[customer] = to_builtins(shopper)
        for fact in told:
            await facts.send(key=key, value=fact)
        if progress.count():
            asyncio.ensure_future(finish())  # noqa: RUF006


if __name__ == "__main__":
    app.main()
