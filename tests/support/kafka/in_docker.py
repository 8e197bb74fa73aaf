"""Kafka in a container, where a Docker engine answers."""

from __future__ import annotations

import os

from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from cartstream.embedded.child import free_port
from tests.support.kafka.answer import new_cluster_id, wait_for_brokers
from tests.support.kafka.settings import broker_settings
from tests.support.missing import Missing

IMAGE_VARIABLE = "CARTSTREAM_TEST_KAFKA_IMAGE"
DEFAULT_IMAGE = "apache/kafka:4.1.0"
CONTROLLER_PORT = 9093
INSIDE_PORT = 9094


def docker_host() -> str:
    """The host on which published ports are reached. Raises Missing if no Docker engine answers."""
    try:
        client = DockerClient()
        client.client.ping()
        return str(client.host())
    except DockerException as silent:
        raise Missing(f"no Docker engine answers ({_first_line(silent)})") from silent


class DockerKafka:
    """A broker in a container, on a host port chosen beforehand, since Kafka tells clients where to come back to."""

    pids: tuple[int, ...] = ()

    def __init__(self) -> None:
        host, port = docker_host(), free_port()
        self.address = f"{host}:{port}"
        self._started = False
        self._cluster_id = new_cluster_id()
        self._container = DockerContainer(os.environ.get(IMAGE_VARIABLE, DEFAULT_IMAGE)).with_bind_ports(port, port)
        settings = broker_settings(1) | {
            "node.id": "1",
            "controller.quorum.voters": f"1@localhost:{CONTROLLER_PORT}",
            "listeners": f"PLAINTEXT://:{port},INSIDE://:{INSIDE_PORT},CONTROLLER://:{CONTROLLER_PORT}",
            "advertised.listeners": f"PLAINTEXT://{self.address},INSIDE://localhost:{INSIDE_PORT}",
            "inter.broker.listener.name": "INSIDE",
        }
        self._container.with_env("CLUSTER_ID", self._cluster_id)
        for name, setting in settings.items():
            self._container.with_env("KAFKA_" + name.upper().replace(".", "_"), setting)

    def start(self) -> None:
        if self._started:
            self._container.get_wrapped_container().start()
        else:
            self._create()
        wait_for_brokers(self.address, cluster_id=self._cluster_id)

    def stop(self) -> None:
        self._container.get_wrapped_container().stop()

    def close(self) -> None:
        if self._started:
            self._started = False
            self._container.stop()

    def _create(self) -> None:
        try:
            self._container.start()
        except DockerException as refused:
            raise Missing(f"Docker cannot run {self._container.image}: {_first_line(refused)}") from refused
        self._started = True


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
