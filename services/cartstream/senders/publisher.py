"""Deliveries, signals, dead letters and offsets, all in one Kafka transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from cartstream.errors import Fenced, PartitionHalted, Unavailable
from cartstream.runtime.bounded import MOST_LEFT_BEHIND, Bounded, LeftBehind
from cartstream.runtime.kafka import RECONNECTING_IN_TRANSACTIONS

_MOST_BYTES = 12 * 1024 * 1024
"""Whatever was on a command topic fits its dead-letter topic: the broker decides, not this client."""


_TAKEN_OVER = frozenset(
    {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID, KafkaError.REBALANCE_IN_PROGRESS}
)


class Outgoing(msgspec.Struct, frozen=True):
    """A record to write. `topic` has its prefix."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, str | bytes | None]] = []


class Publisher:
    """Blocks; use from one thread. After a failure the same records may be given again: their ids are deterministic."""

    def __init__(self, brokers: str, transactional_id: str, timeout_ms: int) -> None:
        self._config: dict[str, Any] = {
            "bootstrap.servers": brokers,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": timeout_ms,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 2,
            "message.max.bytes": _MOST_BYTES,
            # A transaction right after another waits for the broker's markers by trying again, by default after 100 ms.
            "retry.backoff.ms": 5,
            "retry.backoff.max.ms": 20,
            **RECONNECTING_IN_TRANSACTIONS,
            "log_level": 3,
        }
        self._timeout_s = timeout_ms / 1000
        self._producer: Producer | None = None
        self._offsets = Bounded("send_offsets_to_transaction")

    @property
    def longest_s(self) -> float:
        """No call takes longer, unless the client library is stuck."""
        return 3.5 * self._timeout_s + 5

    def open(self) -> None:
        """Ends what an earlier owner of the transactional id left. Raises Unavailable."""
        producer = Producer(self._config)
        try:
            producer.init_transactions(self._timeout_s)
        except KafkaException as error:
            raise Unavailable(f"Kafka at {self._config['bootstrap.servers']} does not answer: {error.args[0].str()}") from error
        self._producer = producer

    def publish(self, records: Sequence[Outgoing], offsets: Sequence[TopicPartition], group: Any) -> None:
        """All or nothing. Raises Unavailable if it may be tried again, Fenced when the group has been rebalanced meanwhile."""
        if self._producer is None:
            self.open()
        producer = self._producer
        assert producer is not None
        try:
            producer.begin_transaction()
            for record in records:
                self._produce(producer, record)
            if offsets:
                self._send_offsets(producer, offsets, group)
            self._commit(producer)
        except KafkaException as error:
            failed: KafkaError = error.args[0]
            self._give_up(producer, failed)
            if failed.code() in _TAKEN_OVER:
                raise Fenced(f"the consumer group has moved on: {failed.name()}") from error
            raise Unavailable(f"the transaction failed: {failed.str()}") from error

    def _send_offsets(self, producer: Producer, offsets: Sequence[TopicPartition], group: Any) -> None:
        """The call is known not to come back when the coordinator was away at the wrong moment: another producer ends its transaction."""
        send = partial(producer.send_offsets_to_transaction, list(offsets), group, self._timeout_s)
        try:
            self._offsets.call(send, self._timeout_s * 1.5)
        except LeftBehind as left:
            self._producer = None
            if self._offsets.left_behind > MOST_LEFT_BEHIND:
                raise PartitionHalted(f"Kafka (transaction): {left}, for the {MOST_LEFT_BEHIND}th time") from left
            raise Unavailable(f"the transaction failed: {left}") from left

    def _produce(self, producer: Producer, record: Outgoing) -> None:
        while True:
            try:
                producer.produce(record.topic, record.value, record.key, headers=record.headers or None)
                return
            except BufferError:
                producer.poll(0.1)

    def _commit(self, producer: Producer) -> None:
        until = time.monotonic() + self._timeout_s
        while True:
            try:
                producer.commit_transaction(self._timeout_s)
                return
            except KafkaException as error:
                failed: KafkaError = error.args[0]
                if not failed.retriable() or time.monotonic() > until:
                    raise

    def _give_up(self, producer: Producer, failed: KafkaError) -> None:
        """Abort; a producer that cannot is replaced, and its successor ends the transaction."""
        try:
            if failed.fatal() or not failed.txn_requires_abort():
                self._producer = None
            else:
                producer.abort_transaction(self._timeout_s)
        except KafkaException:
            self._producer = None
