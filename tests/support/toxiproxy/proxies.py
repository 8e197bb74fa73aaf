"""Proxies that cut, stall and lose what goes through them."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from types import TracebackType
from typing import Any, Literal, Self

from cartstream.embedded.child import HOST, end, free_port
from tests.support.toxiproxy.program import program

START_SECONDS = 10.0
Stream = Literal["upstream", "downstream"]
"""To the server, or from it to the client."""


class Toxiproxy:
    """`with Toxiproxy() as network: proxy = network.between("redis", 6379)`. Entering raises Missing where it can not be had."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._api = ""

    def __enter__(self) -> Self:
        server, port = program(), free_port()
        self._api = f"http://{HOST}:{port}"
        self._process = subprocess.Popen(
            [str(server), "-host", HOST, "-port", str(port)],
            env={"LOG_LEVEL": "error"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._await_answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None

    def between(self, name: str, upstream: int, listen: int | None = None) -> Proxy:
        """A proxy to a port of this machine, on `listen` or a free one; all goes through until told otherwise."""
        port = listen or free_port()
        self.call("POST", "/proxies", {"name": name, "listen": f"{HOST}:{port}", "upstream": f"{HOST}:{upstream}", "enabled": True})
        return Proxy(self, name, port)

    def call(self, method: str, path: str, body: Any = None) -> None:
        request = urllib.request.Request(self._api + path, None if body is None else json.dumps(body).encode(), method=method)
        with urllib.request.urlopen(request, timeout=START_SECONDS):
            return

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.call("GET", "/version")
            except urllib.error.URLError as refused:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Toxiproxy does not answer within {START_SECONDS:.0f} s") from refused
                time.sleep(0.02)


class Proxy:
    """One way to one server. A toxic holds until `heal`."""

    def __init__(self, network: Toxiproxy, name: str, port: int) -> None:
        self._network, self._path = network, f"/proxies/{name}"
        self.port = port
        self._toxics: list[str] = []

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def cut(self) -> None:
        """Every connection ends and new ones are refused, until `heal`."""
        self._network.call("POST", self._path, {"enabled": False})

    def drop(self, stream: Stream) -> None:
        """What is sent this way is lost, and nobody is told."""
        self._poison("timeout", stream, {"timeout": 0})

    def stall(self, stream: Stream, ms: int) -> None:
        """What is sent this way comes so much later."""
        self._poison("latency", stream, {"latency": ms})

    def reset(self, stream: Stream, after_ms: int = 0) -> None:
        """Connections end with a TCP reset, the open ones as soon as something goes this way."""
        self._poison("reset_peer", stream, {"timeout": after_ms})

    def cut_after(self, stream: Stream, bytes_: int) -> None:
        """Each connection ends once so much has gone this way: in the middle of a command or an answer."""
        self._poison("limit_data", stream, {"bytes": bytes_})

    def heal(self) -> None:
        """All goes through again. A connection that lost something is ended: a stream with a hole is none."""
        for name in self._toxics:
            self._network.call("DELETE", f"{self._path}/toxics/{name}")
        self._toxics = []
        self._network.call("POST", self._path, {"enabled": True})

    def _poison(self, kind: str, stream: Stream, attributes: dict[str, int]) -> None:
        name = f"{kind}-{stream}-{len(self._toxics)}"
        self._network.call(
            "POST", f"{self._path}/toxics", {"name": name, "type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes}
        )
        self._toxics.append(name)
