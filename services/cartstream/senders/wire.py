"""What comes in from Kafka and what goes out: commands read; deliveries, signals and dead letters written."""

from __future__ import annotations

from prometheus_client import Counter

from cartstream.errors import Refused
from cartstream.events import topics
from cartstream.events.avro import Codec
from cartstream.events.records import Command
from cartstream.runtime.metrics import SenderMetrics
from cartstream.senders.errand import Done
from cartstream.senders.intake import Arrived
from cartstream.senders.publisher import Outgoing

_GUARDS = ("none", "purchase", "cart")
_LONGEST_DETAIL = 500


class Wire:
    """Of one channel. `topic` has its prefix."""

    def __init__(self, channel: str, topic: str, codec: Codec, prefix: str, metrics: SenderMetrics) -> None:
        self._channel, self._topic, self._codec, self._prefix, self._metrics = channel, topic, codec, prefix, metrics
        self._sends: dict[tuple[str, str], Counter] = {}

    def command(self, message: Arrived) -> Command:
        """Raises Refused."""
        command = self._codec.decode(message.value)
        if not isinstance(command, Command):
            raise Refused("not_a_command", f"a {type(command).__name__} on {self._topic}")
        if command.channel != self._channel:
            raise Refused("wrong_channel", f"a command for {command.channel!r} on {self._topic}")
        if command.guard not in _GUARDS:
            raise Refused("unknown_guard", f"guard {command.guard!r}: say one of {', '.join(_GUARDS)}")
        return command

    def records(self, message: Arrived, done: Done) -> list[Outgoing]:
        """What a finished command writes."""
        delivery = done.delivery
        key = delivery.customer_id.encode()
        self._count(delivery.status, delivery.reason or "")
        records = [Outgoing(self._prefix + topics.DELIVERIES, key, self._codec.encode(delivery))]
        if done.channel_failed is not None:
            failed = done.channel_failed
            signal = self._codec.encode(failed)
            records.append(Outgoing(self._prefix + topics.SIGNALS, failed.customer_id.encode(), signal))
        if done.fault is not None:
            records.append(self.dead_letter(message, done.fault))
        return records

    def _count(self, status: str, reason: str) -> None:
        counter = self._sends.get((status, reason))
        if counter is None:
            counter = self._sends[status, reason] = self._metrics.sends(self._channel, status, reason)
        counter.inc()

    def dead_letter(self, message: Arrived, error: Refused) -> Outgoing:
        """The record as it came, with the reason in its headers."""
        self._metrics.dlq(self._channel, error.reason).inc()
        headers = {
            "cs-reason": error.reason,
            "cs-detail": error.detail[:_LONGEST_DETAIL],
            "cs-topic": self._topic,
            "cs-partition": message.partition,
            "cs-offset": message.offset,
            "cs-timestamp": message.timestamp,
            "cs-service": self._channel,
        }
        return Outgoing(
            topics.dead_letters(self._topic),
            message.key,
            message.value,
            [*message.headers, *((name, str(value).encode()) for name, value in headers.items())],
        )
