"""Services as child processes: each with a metrics port of its own, its log lines under its name, and no silent restart."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cartstream.embedded.child import HOST, ended_within, free_port
from cartstream.errors import CartstreamError, Unavailable

STOP_SECONDS = 20.0
READY_SECONDS = 60.0
_POLL_S = 0.05

Say = Callable[[str, str], None]


@dataclass(slots=True)
class Child:
    """`told` is set once somebody asked it to end: from then on its end is nobody's surprise."""

    process: subprocess.Popen[bytes]
    port: int
    reader: threading.Thread
    told: bool = False


class Processes:
    """`cartstream` commands as child processes, by name.

    `env` is put over this process's environment for all of them. `say(name, line)` gets every line that they write, from a
    thread for each. They stand outside the terminal's process group, so a Ctrl-C reaches only whoever supervises them. As a
    context manager it stops, in the order of starting, what is still running at the end. Methods belong to one thread.
    """

    def __init__(self, env: Mapping[str, str], say: Say | None = None) -> None:
        self._env = dict(env)
        self._say = say or print_line
        self._children: dict[str, Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop_all()

    @property
    def names(self) -> list[str]:
        """Those that were started and not taken away, in the order of starting."""
        return list(self._children)

    def start(self, name: str, env: Mapping[str, str] | None = None, arguments: Sequence[str] | None = None) -> None:
        """Start `cartstream <arguments>`; without them `run <service>`, the service being `name` up to a hyphen (`identity-2`).

        Does not wait until it is ready. A name whose process has ended may be started again.
        """
        if name in self._children and self.alive(name):
            raise CartstreamError(f"{name} runs already as process {self.pid(name)}: stop it first")
        port = self._free_port()
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "cartstream.cli", *(arguments or ("run", name.partition("-")[0]))],
            env={**os.environ, **self._env, "CARTSTREAM_METRICS_PORT": str(port), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        reader = threading.Thread(target=self._read, args=(name, process), name=f"log of {name}", daemon=True)
        self._children[name] = Child(process, port, reader)
        reader.start()

    def pid(self, name: str) -> int:
        return self._child(name).process.pid

    def alive(self, name: str) -> bool:
        return self._child(name).process.poll() is None

    def metrics_url(self, name: str) -> str:
        """Where `/metrics`, `/livez` and `/readyz` are, without a slash at the end."""
        return f"http://{HOST}:{self._child(name).port}"

    def ready(self, name: str) -> bool:
        """Whether `/readyz` says so now."""
        return answers(f"{self.metrics_url(name)}/readyz")

    def wait_ready(self, names: Iterable[str] | None = None, seconds: float = READY_SECONDS) -> None:
        """Until all are ready. Raises Unavailable naming those that are not in time, or one that has ended."""
        waiting = list(self.names if names is None else names)
        deadline = time.monotonic() + seconds
        while waiting := [name for name in waiting if not self.ready(name)]:
            if (gone := self.ended()) is not None:
                raise Unavailable(f"{gone[0]} ended with exit code {gone[1]} before it was ready: see its log lines")
            if time.monotonic() > deadline:
                raise Unavailable(f"not ready after {seconds:.0f} s: {', '.join(waiting)}")
            time.sleep(_POLL_S)

    def ended(self) -> tuple[str, int] | None:
        """The first that ended though nobody told it to, and its exit code (negative: the signal)."""
        for name, child in self._children.items():
            code = child.process.poll()
            if code is not None and not child.told:
                return name, code
        return None

    def stop(self, name: str, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, wait, and SIGKILL after the limit. Gives the exit code."""
        return self._stop([name], seconds)[name]

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would; returns when it is gone."""
        child = self._child(name)
        child.told = True
        child.process.kill()
        child.process.wait()
        child.reader.join()

    def stop_all(self, seconds: float = STOP_SECONDS) -> dict[str, int]:
        """Stop service after service in the order of starting, the instances of a service together. Gives the exit codes."""
        codes: dict[str, int] = {}
        groups: dict[str, list[str]] = {}
        for name in self._children:
            groups.setdefault(name.partition("-")[0], []).append(name)
        for names in groups.values():
            codes |= self._stop(names, seconds)
        return codes

    def _stop(self, names: list[str], seconds: float) -> dict[str, int]:
        deadline = time.monotonic() + seconds
        for name in names:
            child = self._child(name)
            child.told = True
            child.process.terminate()
        codes = {}
        for name in names:
            child = self._child(name)
            if not ended_within(child.process, max(0.0, deadline - time.monotonic())):
                self._say(name, f"did not stop within {seconds:.0f} s: killed")
                child.process.kill()
            codes[name] = child.process.wait()
            child.reader.join()
        return codes

    def _child(self, name: str) -> Child:
        try:
            return self._children[name]
        except KeyError:
            raise CartstreamError(f"no process {name!r} here: started were {', '.join(self._children) or 'none'}") from None

    def _free_port(self) -> int:
        taken = {child.port for child in self._children.values()}
        while (port := free_port()) in taken:
            continue
        return port

    def _read(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._say(name, line.decode(errors="replace").rstrip("\n"))


def print_line(name: str, line: str) -> None:
    print(f"{name:<11}| {line}", file=sys.stderr, flush=True)


def answers(url: str, seconds: float = 1.0) -> bool:
    """Whether a GET gives 2xx."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as response:  # noqa: S310
            return 200 <= int(response.status) < 300
    except (urllib.error.URLError, OSError):
        return False
