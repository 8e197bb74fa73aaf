"""What the consumer brings, by partition."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from cartstream.errors import PartitionHalted, Unavailable
from cartstream.runtime.commitment import Owned
from cartstream.runtime.halts import Halts
from cartstream.runtime.log import logger
from cartstream.runtime.stage import Record


class Intake:
    """`owned` is the loop's, which changes inside `poll`: that is when the group gives and takes partitions. `topic` has the prefix."""

    def __init__(
        self, consumer: Any, topic: str, source: str, service: str, poll_s: float, batch_size: int, owned: dict[int, Owned], halts: Halts
    ) -> None:
        self._consumer = consumer
        self._topic, self._source, self._service = topic, source, service
        self._poll_s, self._batch_size = poll_s, batch_size
        self._owned = owned
        self._halts = halts

    def poll(self) -> dict[int, list[Record]]:
        """The first record as soon as it is there, and whatever else has come by then; hardly anything while some are still held."""
        grouped: dict[int, list[Any]] = {}
        at_end: set[int] = set()
        for message in self._consume():
            fault, number = message.error(), message.partition()
            if fault is not None:
                if self._is_end(fault, number):
                    at_end.add(number)
                continue
            if at_end:
                at_end.discard(number)
            if number in grouped:
                grouped[number].append(message)
            else:
                grouped[number] = [message]
        for number, owned in self._owned.items():
            if number in grouped or number in at_end:
                owned.caught_up = number in at_end
        mine = {number: messages for number, messages in grouped.items() if number in self._owned and number not in self._halts}
        return {number: self._records(number, messages) for number, messages in mine.items()}

    def _records(self, number: int, messages: list[Any]) -> list[Record]:
        owned, source = self._owned[number], self._source
        owned.read_at = time.monotonic()
        if messages[0].offset() < owned.start:
            messages = [message for message in messages if message.offset() >= owned.start]
        return [Record(source, number, message.offset(), message.key(), message.value() or b"", message) for message in messages]

    def _consume(self) -> list[Any]:
        try:
            held = any(owned.held for number, owned in self._owned.items() if number not in self._halts)
            messages: list[Any] = self._consumer.consume(1, 0 if held else self._poll_s)
            if messages and not held:
                messages += self._consumer.consume(self._batch_size - 1, 0)
        except KafkaException as error:
            raise Unavailable(f"Kafka (consumer): {error.args[0].str()}") from error
        return messages

    def _is_end(self, error: Any, number: int) -> bool:
        """Whether it only says that the partition has no more for now. Anything else is seen to."""
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._halts.add(
                number,
                f"{self._topic}[{number}]: the next offset is out of retention. Nothing is skipped; to accept the loss, "
                f"`cartstream state skip {self._service} {number}` (see docs/operations.md)",
            )
        elif error.fatal():
            raise PartitionHalted(f"Kafka (consumer): {error.str()}")
        else:
            logger().warning("consumer error", error=error.name(), partition=number)
        return False
