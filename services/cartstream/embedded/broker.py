"""The broker of the demo: librdkafka's mock cluster, which other processes join over TCP."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from cartstream.embedded.librdkafka import MockCluster

DEFAULT_PARTITIONS = 4
REBALANCE_DELAY_MS = 200


class EmbeddedBroker:
    """A Kafka-compatible broker inside this process: `with EmbeddedBroker({"clicks": 8}) as broker: broker.address`.

    It lives as long as the `with` block and keeps everything in memory. Groups, rebalances, idempotent and
    transactional produce, headers, timestamps and partition-EOF events work. What a real broker does and this one
    does not (measured with confluent-kafka 2.16.1):

    - Admin calls time out (there is no controller): topics come from here, or by themselves with
      `DEFAULT_PARTITIONS` when somebody first produces to them.
    - A group that changes after its first assignment, or is empty and used again, waits for its members' session
      timeout less a second: give consumers a `session.timeout.ms` of 2,000 or so (45,000 is the default).
    - A partition keeps its newest 5 MB or 100,000 records; a reader that lags further is reset by its
      `auto.offset.reset`. One produced batch over 5 MB is acknowledged and then read by nobody. Up to there the size
      is limited only by the clients: 1 MB by default, `message.max.bytes` for more.
    - Transactions are accepted but prove nothing: their records are visible before the commit and after an abort,
      their offsets are not kept (`committed` stays unset), and an old owner of a transactional id is not fenced.
    - Its commit markers carry a wrong checksum, which librdkafka does not look at and aiokafka does: there,
      `check_crcs=False` (in Faust `broker_check_crcs=False` and, as there is no controller, `topic_allow_declare=False`).
    """

    def __init__(self, topics: Mapping[str, int] | None = None, *, rebalance_delay_ms: int = REBALANCE_DELAY_MS) -> None:
        self._topics = dict(topics or {})
        self._rebalance_delay_ms = rebalance_delay_ms
        self._cluster: MockCluster | None = None

    def __enter__(self) -> Self:
        self._cluster = MockCluster()
        self._cluster.set_rebalance_delay(self._rebalance_delay_ms)
        self.create_topics(self._topics)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        cluster, self._cluster = self._running, None
        cluster.destroy()

    @property
    def address(self) -> str:
        """`host:port`, for `bootstrap.servers` of this and other processes on this machine."""
        return self._running.address

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create each topic with its number of partitions; a topic that exists keeps those it has."""
        for name, count in partitions.items():
            self._running.create_topic(name, count)

    @property
    def _running(self) -> MockCluster:
        if self._cluster is None:
            raise RuntimeError("the embedded broker runs only inside its `with` block")
        return self._cluster
