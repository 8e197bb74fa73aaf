"""The producer of one stage: one Kafka transaction a round, carrying the outputs and the offsets that they came from."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from cartstream.errors import Fenced, Unavailable, Unclear
from cartstream.runtime.bounded import MOST_LEFT_BEHIND, Bounded, LeftBehind
from cartstream.runtime.kafka import TRANSACTION_TIMEOUT_MS, producer_config
from cartstream.runtime.lifeline import STUCK_EXIT_CODE
from cartstream.runtime.log import logger
from cartstream.runtime.store import Wire
from cartstream.runtime.teller import Teller

_TAKEN_OVER = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)


class Publisher:
    """Not thread-safe. `limit_s` bounds every call from outside: librdkafka does not keep all of its own limits.

    `send_offsets_to_transaction` is known not to come back when the coordinator was away at the wrong moment: its producer is left
    behind, and the next one, of the same id, ends its transaction. Any other call that runs over ends the process; the next owner
    publishes the outbox.
    """

    def __init__(self, brokers: str, prefix: str, transactional_id: str, limit_s: float) -> None:
        self._config = producer_config(brokers, transactional_id)
        self._prefix = prefix
        self._limit_s = limit_s
        self._producer: Any = None
        self._teller = Teller(self._config, prefix)
        self._begun = False
        self._watchdog = _Watchdog()
        self._offsets = Bounded("send_offsets_to_transaction")

    def connect(self) -> None:
        """Also ends a transaction that an earlier process of this id left open. Raises Unavailable."""
        producer = Producer(self._config)
        try:
            with self._watchdog.limit("init_transactions", self._limit_s * 2):
                producer.init_transactions(self._limit_s)
        except KafkaException as error:
            raise Unavailable(f"Kafka (transactions): {error.args[0].str()}") from error
        self._producer, self._begun = producer, False

    def begin(self, outputs: Sequence[Wire]) -> None:
        """Let these go before it is certain that they may: nobody reads them until `publish`, which must be given the same, or
        `withdraw` takes them back. A fault here is met by `publish`, which then begins anew."""
        if self._producer is None:
            return
        try:
            self._producer.begin_transaction()
            self._begun = True
            self._produce_all(outputs)
        except KafkaException as error:
            self._break_off(error.args[0])

    def withdraw(self) -> None:
        """What was begun and may not, or not yet, be published."""
        if self._begun:
            self._begun = False
            self._abort()

    def publish(self, outputs: Sequence[Wire], offsets: list[TopicPartition], group: Any) -> None:
        """All or nothing. Raises Fenced when the group has given a partition away, Unavailable when it is to be tried again, Unclear when
        only the group's offsets can tell: after `connect`, which ends what is under way.
        """
        if self._producer is None:
            self.connect()
        begun, self._begun = self._begun, False
        try:
            if not begun:
                self._producer.begin_transaction()
                self._produce_all(outputs)
            if offsets:
                self._send_offsets(offsets, group)
            self._end_transaction()
        except KafkaException as error:
            self._give_up(error.args[0])

    def _send_offsets(self, offsets: list[TopicPartition], group: Any) -> None:
        producer, seconds = self._producer, min(self._limit_s, TRANSACTION_TIMEOUT_MS / 1000)
        try:
            self._offsets.call(lambda: producer.send_offsets_to_transaction(offsets, group, seconds), seconds * 1.5)
        except LeftBehind as left:
            self._producer = None
            logger().error("a Kafka call does not return: a new producer takes over", call=str(left), so_far=self._offsets.left_behind)
            if self._offsets.left_behind > MOST_LEFT_BEHIND:
                os._exit(STUCK_EXIT_CODE)
            raise Unavailable(f"Kafka (transaction): {left}") from left

    def _end_transaction(self) -> None:
        try:
            with self._watchdog.limit("commit_transaction", self._limit_s * 2):
                self._producer.commit_transaction(self._limit_s)
        except KafkaException as error:
            failed = error.args[0]
            if failed.txn_requires_abort():
                raise
            self._producer = None
            logger().warning("a commit without an answer", error=failed.name(), fatal=failed.fatal())
            raise Unclear(f"Kafka (transaction): {failed.str()}") from error

    def tell(self, marks: Sequence[Wire]) -> None:
        """As `Teller.tell`."""
        self._teller.tell(marks)

    def close(self) -> None:
        self._teller.close()

    def _produce_all(self, outputs: Sequence[Wire]) -> None:
        produce, names = self._producer.produce, {output.topic: self._prefix + output.topic for output in outputs}
        for output in outputs:
            try:
                if output.headers is None and output.partition < 0:
                    produce(names[output.topic], output.value, output.key)
                else:
                    self._produce(output)
            except BufferError:
                self._producer.poll(0.05)
                self._produce(output)

    def _produce(self, output: Wire) -> None:
        """The ones that are told apart: with headers, or for a given partition. Waits while the queue is full."""
        place = {"partition": output.partition} if output.partition >= 0 else {}
        headers = [(name, text.encode()) for name, text in output.headers.items()] if isinstance(output.headers, dict) else output.headers
        while True:
            try:
                self._producer.produce(self._prefix + output.topic, output.value, output.key, headers=headers, **place)
                return
            except BufferError:
                self._producer.poll(0.05)

    def _break_off(self, error: Any) -> None:
        logger().warning("transaction failed", error=error.name(), fatal=error.fatal(), abort=error.txn_requires_abort())
        self._begun = False
        if error.txn_requires_abort():
            self._abort()
        else:
            # Fatal, or a call that ran out of time: its client may never find the coordinator again, and would abort without asking it.
            self._producer = None

    def _give_up(self, error: Any) -> None:
        self._break_off(error)
        if error.code() in _TAKEN_OVER:
            raise Fenced(f"the consumer group has moved on: {error.name()}")
        raise Unavailable(f"Kafka (transaction): {error.str()}")

    def _abort(self) -> None:
        try:
            with self._watchdog.limit("abort_transaction", self._limit_s * 2):
                self._producer.abort_transaction(self._limit_s)
        except KafkaException as error:
            logger().warning("abort failed; a new producer takes over", error=error.args[0].name())
            self._producer = None


class _Watchdog:
    """Ends the process when a call takes longer than it may."""

    def __init__(self) -> None:
        self._deadline: float | None = None
        self._call = ""
        self._thread: threading.Thread | None = None

    @contextmanager
    def limit(self, call: str, seconds: float) -> Iterator[None]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        self._call, self._deadline = call, time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def _watch(self) -> None:
        while True:
            time.sleep(1.0)
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                logger().error("a Kafka call does not return: ending the process, the next owner recovers", call=self._call)
                os._exit(STUCK_EXIT_CODE)
