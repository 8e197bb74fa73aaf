"""A real Kafka, wherever this machine can get one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.kafka.given import GivenKafka
from tests.support.kafka.in_docker import DockerKafka
from tests.support.kafka.on_java import JavaKafka
from tests.support.kafka.source import KafkaSource
from tests.support.missing import Missing

ADDRESS_VARIABLE = "CARTSTREAM_TEST_BROKER"
ADMIN_SECONDS = 30.0


class RealKafka:
    """A real Kafka for tests, benchmarks and drills: `with RealKafka() as kafka: kafka.address`.

    It is the one at the address in `CARTSTREAM_TEST_BROKER`; else one in Docker, if an engine answers and one node is
    enough; else `nodes` (1 to 3) KRaft nodes on this machine's Java. What it started it ends, records and all.
    Entering raises Missing, with every reason, if there is none to be had.

    `long_lived` as in `JavaKafka`.
    With `advertised` (see there), a port for each node, there is a second way in through proxies, and it is always one on Java.
    """

    def __init__(self, nodes: int = 1, advertised: Sequence[int] = (), *, long_lived: bool = False) -> None:
        self._ways = _ways(nodes, advertised, long_lived)
        self._source: KafkaSource | None = None

    def __enter__(self) -> Self:
        self._source = _first_that_starts(self._ways)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        source, self._source = self._running, None
        source.close()

    @property
    def address(self) -> str:
        """For `bootstrap.servers`. It stays the same over `stop` and `restart`."""
        return self._running.address

    @property
    def pids(self) -> tuple[int, ...]:
        """The broker processes by node id, for drills; none in Docker or where the address was given."""
        return self._running.pids

    @property
    def pid(self) -> int:
        """The first broker's process. Raises Missing where the broker is no process of ours."""
        if not self.pids:
            raise Missing(f"Kafka at {self.address} is no process of this machine that may be signalled")
        return self.pids[0]

    @property
    def logs(self) -> tuple[Path, ...]:
        """What the brokers wrote, by node id; none in Docker or where the address was given."""
        return self._running.logs if isinstance(self._running, JavaKafka) else ()

    @property
    def listening(self) -> list[int]:
        """Where the way in through proxies begins, by node."""
        return self._nodes_of_ours.listening

    def kill_node(self, node: int) -> None:
        """SIGKILL to one broker (from 1 on); returns when it is gone. Raises Missing where brokers are no processes of ours."""
        self._nodes_of_ours.kill_node(node)

    def start_node(self, node: int) -> None:
        """Start a killed broker again; returns once it has joined the others and has all records."""
        self._nodes_of_ours.start_node(node)

    def stop(self) -> None:
        """Stop every broker in good order; records stay."""
        self._running.stop()

    def restart(self) -> None:
        """Stop what still runs, killed or not, and start again with the same address and records."""
        self._running.stop()
        self._running.start()

    def create_topics(self, partitions: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        """Create each topic with its number of partitions, and return once the brokers have."""
        topics = [NewTopic(name, count, config=dict(config or {})) for name, count in partitions.items()]
        admin = AdminClient({"bootstrap.servers": self.address})
        for future in admin.create_topics(topics).values():
            future.result(ADMIN_SECONDS)

    @property
    def _nodes_of_ours(self) -> JavaKafka:
        if not isinstance(self._running, JavaKafka):
            raise Missing(f"Kafka at {self.address} is no process of this machine that may be killed")
        return self._running

    @property
    def _running(self) -> KafkaSource:
        if self._source is None:
            raise RuntimeError("a RealKafka runs only inside its `with` block")
        return self._source


def _ways(nodes: int, advertised: Sequence[int], long_lived: bool) -> list[Callable[[], KafkaSource]]:
    given = os.environ.get(ADDRESS_VARIABLE)
    on_java = [lambda: JavaKafka(nodes, advertised, long_lived)]
    if advertised:
        return [*on_java]
    if given:
        return [lambda: GivenKafka(given)]
    return [DockerKafka, *on_java] if nodes == 1 else [*on_java]


def _first_that_starts(ways: list[Callable[[], KafkaSource]]) -> KafkaSource:
    reasons = []
    for way in ways:
        try:
            return _started(way())
        except Missing as missing:
            reasons.append(str(missing))
    raise Missing(f"no Kafka: {'; '.join(reasons)}; set {ADDRESS_VARIABLE}=host:port to use one")


def _started(source: KafkaSource) -> KafkaSource:
    try:
        source.start()
    except BaseException:
        source.close()
        raise
    return source
