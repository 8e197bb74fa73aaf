"""Where a real Kafka comes from."""

from __future__ import annotations

from typing import Protocol


class KafkaSource(Protocol):
    """A Kafka that this process may use, and, unless it was given from outside, start and stop.

    `start` returns once the brokers answer; after `stop` it may be called again: address and records are as before.
    """

    @property
    def address(self) -> str:
        """`host:port`, or several with commas, for `bootstrap.servers`. Known from construction on."""

    @property
    def pids(self) -> tuple[int, ...]:
        """The broker processes, in order of node id; none where they are not processes of ours."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None:
        """Stop, and delete every record. May be called twice."""
