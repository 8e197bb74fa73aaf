"""Faust's Kafka transport, reading only what transactions have committed.

Faust asks for that only together with its own `exactly_once`, which brings one transactional producer a partition that insights
has no use for. The senders and journeys write in transactions; what they abort must not be counted.
"""

from __future__ import annotations

from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport


class ReadCommittedThread(AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Neither Faust nor aiokafka has another way in; tests/insights proves that aborted records stay out.
        consumer._isolation_level = "read_committed"
        return consumer


class ReadCommittedConsumer(Consumer):
    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)


class ReadCommittedTransport(Transport):
    Consumer = ReadCommittedConsumer
