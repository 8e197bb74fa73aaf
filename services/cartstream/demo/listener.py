"""Listens in between the stages: which signals, commands, decisions and deliveries there were, and which sessions ended."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from cartstream.events import avro, topics
from cartstream.events.records import Activity, Command, Decision, Delivery, Signal, Watermark

TOPICS = (topics.ACTIVITY, topics.SIGNALS, topics.DECISIONS, *map(topics.commands, topics.CHANNELS), topics.DELIVERIES)


class Listener(threading.Thread):
    """Reads from the beginning until `close`. Counts are exact as far as it has read; a record that comes twice counts once."""

    def __init__(self, brokers: str, partitions: int, names: Sequence[str] = TOPICS) -> None:
        super().__init__(name="listener", daemon=True)
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "demo-listener",
                "enable.auto.commit": False,
                "log_level": 3,
                "fetch.wait.max.ms": 100,
            }
        )
        self._places = [TopicPartition(name, number, OFFSET_BEGINNING) for name in names for number in range(partitions)]
        self._header = avro.codec().header_of(Watermark)
        self._closing = threading.Event()
        self.funnel: Counter[tuple[str, str]] = Counter()
        self.sessions: set[str] = set()
        self.devices: dict[str, str] = {}
        self.signals: dict[str, Signal] = {}
        self.commands: dict[str, Command] = {}
        self._decided: set[str] = set()
        self._delivered: set[str] = set()

    def run(self) -> None:
        self._consumer.assign(self._places)
        while not self._closing.is_set():
            for message in self._consumer.consume(1_000, 0.1):
                value = message.value()
                if message.error() is None and isinstance(value, bytes) and value[:5] != self._header:
                    self._take(avro.codec().decode(value))
        self._consumer.close()

    def close(self) -> None:
        self._closing.set()
        self.join()

    def _activity(self, activity: Activity) -> None:
        if activity.device_id is not None:
            self.devices[activity.customer_id] = activity.device_id
        if activity.kind == "session_ended" and activity.session is not None:
            self.sessions.add(activity.session.session_id)

    def _take(self, record: object) -> None:
        match record:
            case Activity():
                self._activity(record)
            case Signal() if record.id not in self.signals:
                self.signals[record.id] = record
                self.funnel["signals", record.kind] += 1
            case Command() if record.command_id not in self.commands:
                self.commands[record.command_id] = record
                self.funnel["commands", record.channel] += 1
            case Decision() if record.id not in self._decided:
                self._decided.add(record.id)
                self.funnel["decisions", f"{record.outcome}: {record.rule}"] += 1
            case Delivery() if record.id not in self._delivered:
                self._delivered.add(record.id)
                self.funnel["deliveries", f"{record.status}{f': {record.reason}' if record.reason else ''}"] += 1
