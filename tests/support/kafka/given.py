"""A Kafka that somebody else runs."""

from __future__ import annotations

from tests.support.kafka.answer import wait_for_brokers


class GivenKafka:
    """The cluster at an address from outside: used as it is, never stopped."""

    pids: tuple[int, ...] = ()

    def __init__(self, address: str) -> None:
        self.address = address

    def start(self) -> None:
        wait_for_brokers(self.address)

    def stop(self) -> None:
        raise RuntimeError(f"Kafka at {self.address} was given from outside: tests may not stop it")

    def close(self) -> None:
        """It is not ours: nothing to do."""
