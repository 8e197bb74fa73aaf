"""Whether a Kafka client still knows any broker.

librdkafka forgets the brokers that a metadata answer does not name. A broker that has just come back names none for a moment, and a
client that asks it just then has none left, and never asks again (librdkafka 2.16, its issue 5301). Nothing on such a client fails, it
only falls silent. So a client that has brought nothing for a while is asked; when it reaches nobody, again and again, while a new one
does, the process ends and whoever runs it starts it anew.
"""

from __future__ import annotations

import os
import time
from typing import Any

from confluent_kafka import Consumer, KafkaException

from cartstream.runtime.log import logger

STUCK_EXIT_CODE = 70
QUIET_S = 3.0
ANSWER_S = 2.0
MISSED = 3


class Lifeline:
    """Of one client; for the thread that uses it."""

    def __init__(self, client: Any, brokers: str, topic: str) -> None:
        self._client, self._brokers, self._topic = client, brokers, topic
        self._looked_at = time.monotonic()
        self.missed = 0

    def look(self, heard: bool) -> None:
        """Often; `heard` when the client has just brought something. Takes a moment once it has been quiet, and twice `ANSWER_S` at most.
        Ends the process when the client is lost."""
        now = time.monotonic()
        if heard:
            self._looked_at, self.missed = now, 0
        elif now - self._looked_at >= QUIET_S:
            self.missed = 0 if _reaches(self._client, self._topic) or not self._another_does() else self.missed + 1
            self._looked_at = time.monotonic()
            if self.missed >= MISSED:
                logger().error("this client has lost every broker, and a new one has not: ending the process", topic=self._topic)
                os._exit(STUCK_EXIT_CODE)

    def _another_does(self) -> bool:
        return _reaches(Consumer({"bootstrap.servers": self._brokers, "group.id": "cartstream.lifeline", "log_level": 0}), self._topic)


def _reaches(client: Any, topic: str) -> bool:
    try:
        found = client.list_topics(topic, timeout=ANSWER_S)
    except KafkaException:
        return False
    return bool(found.brokers)
