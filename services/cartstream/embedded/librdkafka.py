"""The calls of librdkafka's mock cluster that confluent-kafka does not pass on, such as a topic's partition count."""

from __future__ import annotations

import ctypes
from typing import NoReturn

from confluent_kafka import cimpl

from cartstream.errors import Unavailable

PRODUCER = 0
CONF_OK = 0
TOPIC_ALREADY_EXISTS = 36
ERROR_BYTES = 512
BROKERS = 1
REPLICATION = 1


class MockCluster:
    """A mock cluster of one broker, inside this process, on a free loopback port.

    Its calls block for less than a millisecond and may come from any thread. After `destroy` none may be made.
    Raises Unavailable where this build of confluent-kafka has no mock cluster.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._handle = self._start()
        self._cluster = self._library.rd_kafka_handle_mock_cluster(self._handle)
        self.address: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic. One that exists keeps its partitions."""
        code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, REPLICATION)
        if code not in (0, TOPIC_ALREADY_EXISTS):
            raise Unavailable(f"embedded broker {self.address}: cannot create topic {name!r} (librdkafka error {code})")

    def set_rebalance_delay(self, milliseconds: int) -> None:
        """How long a new group waits for further members before its first assignment."""
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, milliseconds)

    def destroy(self) -> None:
        self._library.rd_kafka_destroy(self._handle)

    def _start(self) -> int:
        message = ctypes.create_string_buffer(ERROR_BYTES)
        conf = self._library.rd_kafka_conf_new()
        # Level 3 keeps librdkafka from greeting every start with a notice on stderr.
        for name, setting in ((b"test.mock.num.brokers", b"%d" % BROKERS), (b"log_level", b"3")):
            if self._library.rd_kafka_conf_set(conf, name, setting, message, ERROR_BYTES) != CONF_OK:
                self._library.rd_kafka_conf_destroy(conf)
                _refuse(message.value.decode())
        handle: int | None = self._library.rd_kafka_new(PRODUCER, conf, message, ERROR_BYTES)
        if handle is None:
            self._library.rd_kafka_conf_destroy(conf)
            _refuse(message.value.decode())
        return handle


def _load() -> ctypes.CDLL:
    # Looked up through the extension module, whose own dependency is librdkafka: so it is the very library that
    # confluent-kafka uses, wherever the wheel or the system keeps it.
    library = ctypes.CDLL(cimpl.__file__)
    try:
        _declare(library)
    except AttributeError as missing:
        _refuse(str(missing))
    return library


def _declare(library: ctypes.CDLL) -> None:
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    signatures: dict[str, tuple[type | None, list[type]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_destroy": (None, [pointer]),
        "rd_kafka_conf_set": (ctypes.c_int, [pointer, text, text, text, size]),
        "rd_kafka_new": (pointer, [ctypes.c_int, pointer, text, size]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_handle_mock_cluster": (pointer, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.c_int]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


def _refuse(why: str) -> NoReturn:
    raise Unavailable(f"the embedded broker cannot start: {why}. Install confluent-kafka from its wheel, or give a Kafka's address.")
