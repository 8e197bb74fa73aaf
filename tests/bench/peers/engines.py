"""The peers: what each is told, and how each is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.bench.peers.building import jars, python
from tests.support.kafka.jars import java

HEAP = "-Xmx2g"


@dataclass(frozen=True, slots=True)
class Engine:
    """`command` builds what is missing and gives the words that start it; `{state}` in them is the folder for its state.

    `preparation` is run before, outside the measurement. An engine with `most_clicks` is too slow for more.
    """

    name: str
    guarantee: str
    state: str
    commit_ms: int
    command: Callable[[], list[str]]
    preparation: Callable[[], list[str]] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    most_clicks: int | None = None


def _on_java(module: str, main: str, *options: str) -> Callable[[], list[str]]:
    def command() -> list[str]:
        folder = jars() / module
        return [java(), HEAP, "-XX:+UseParallelGC", *options, "-cp", f"{folder}/*:{folder}/libs/*", f"cartstream.peers.{main}"]

    return command


def _on_python(environment: str, *words: str) -> Callable[[], list[str]]:
    return lambda: [str(python(environment)), "-m", *words]


_STREAMS = _on_java("kafka-streams", "KafkaStreamsPeer")
_FLINK = _on_java("flink", "FlinkPeer", *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("util", "lang")))
_PYTHON = "tests.bench.peers.python"
_BYTEWAX = ("bytewax.run", f"{_PYTHON}.bytewax_peer:flow", "-r", "{state}", "-s", "1", "-b", "0", "-w", "1")

ENGINES = (
    Engine("kafka-streams", "exactly once", "RocksDB", 100, _STREAMS),
    Engine("kafka-streams-1s", "exactly once", "RocksDB", 1_000, _STREAMS),
    Engine("flink-rocksdb", "exactly once", "RocksDB", 1_000, _FLINK, settings={"PEER_STORE": "rocksdb"}),
    Engine("flink-heap", "exactly once", "heap", 1_000, _FLINK, settings={"PEER_STORE": "hashmap"}),
    Engine("quix", "exactly once", "RocksDB", 1_000, _on_python("quix", f"{_PYTHON}.quix_peer")),
    Engine(
        "bytewax",
        "at least once",
        "memory",
        1_000,
        _on_python("bytewax", *_BYTEWAX),
        preparation=_on_python("bytewax", "bytewax.recovery", "{state}", "1"),
    ),
    Engine(
        "faust",
        "exactly once",
        "memory",
        1_000,
        _on_python("faust", f"{_PYTHON}.faust_peer", "worker", "-l", "warn"),
        most_clicks=200_000,
    ),
)
