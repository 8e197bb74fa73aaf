"""Watermarks, on their way outside of any transaction.

One that is lost would be overtaken by the next; but the last before a quiet hour is what ends sessions. So each is told until it came
through, by another client where one has fallen silent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from cartstream.runtime.kafka import RECONNECTING
from cartstream.runtime.log import logger
from cartstream.runtime.store import Wire

TELLING_S = 5.0
"""How long a watermark may be on its way to the broker."""
TELL_AGAIN_S = 0.5
MOST_UNTOLD = 10_000


class Teller:
    """Not thread-safe. `config` is a producer's. Connects with the first watermark."""

    def __init__(self, config: dict[str, Any], prefix: str) -> None:
        self._config, self._prefix = config, prefix
        self._client: Any = None
        self._on_their_way: dict[int, Wire] = {}
        self._untold: list[Wire] = []
        self._numbers = count()
        self._tries_again_at = 0.0

    @property
    def has_told(self) -> bool:
        """All that it was given came through, as far as it has looked."""
        return not (self._untold or self._on_their_way)

    def tell(self, marks: Sequence[Wire]) -> None:
        """Without waiting. Those that did not come through are told again, also by `tell` without any, which is to be called now and then;
        told late they change nothing, as a later one has overtaken them."""
        if self._untold and self._tries_again_at <= time.monotonic():
            marks, self._untold = [*self._untold, *marks], []
        if self._client is None:
            if not marks:
                return
            self._client = Producer(_plain(self._config))
        refused = []
        for mark in marks:
            try:
                self._tell(mark)
            except KafkaException as error:
                # Such as a broker that has just come back and does not know the topic yet.
                refused.append(mark)
                self._untold_for(error.args[0], refused)
        self._untold += refused
        if self._client is not None:
            self._client.poll(0)

    def _tell(self, mark: Wire) -> None:
        client, number = self._client, next(self._numbers)

        def came(error: KafkaError | None, _: Any) -> None:
            if self._client is client:
                if error is None:
                    self._on_their_way.pop(number, None)
                else:
                    self._untell(error)

        while client is not None and self._client is client:
            try:
                client.produce(self._prefix + mark.topic, mark.value, partition=mark.partition, on_delivery=came)
                self._on_their_way[number] = mark
                return
            except BufferError:
                client.poll(0.05)
        self._untold.append(mark)

    def _untell(self, error: KafkaError) -> None:
        """All that is on its way goes to a new client: one that has lost every broker finds none again (see `lifeline`)."""
        self._untold = [*self._on_their_way.values(), *self._untold][-MOST_UNTOLD:]
        self._untold_for(error, self._untold)
        self._client, self._on_their_way = None, {}

    def _untold_for(self, error: KafkaError, marks: Sequence[Wire]) -> None:
        logger().warning("watermarks were not told", error=error.name(), count=len(marks))
        self._tries_again_at = time.monotonic() + TELL_AGAIN_S

    def close(self, seconds: float = 2.0) -> None:
        """Let the last watermarks out."""
        if self._client is not None:
            self._client.flush(seconds)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """Without transactions, and without the order that idempotence keeps: a watermark is true whenever it comes."""
    plain = {name: value for name, value in config.items() if not name.startswith("transaction")}
    return {**plain, "enable.idempotence": False, "message.timeout.ms": int(TELLING_S * 1000), **RECONNECTING}
