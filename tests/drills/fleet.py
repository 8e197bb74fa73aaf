"""The processes of a course, by name: started, killed, stopped, woken and asked."""

from __future__ import annotations

import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cartstream.embedded.child import HOST, free_port
from cartstream.up.processes import answers
from tests.drills.nursery import Nursery, Nursling

READY_SECONDS = 60.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class _Member:
    process: Nursling
    port: int


class Fleet:
    """`start("sessions-2")` runs the service before the hyphen. `env` is the whole environment of all; their logs are in `out`.

    Killed at the end of the block. Any thread, but one thread a name.
    """

    def __init__(self, nursery: Nursery, env: Mapping[str, str], out: Path, *, static: bool = False) -> None:
        self._nursery, self._env, self._out = nursery, dict(env), out
        self.static = static
        self._members: dict[str, _Member] = {}

    def start(
        self,
        name: str,
        env: Mapping[str, str] | None = None,
        *,
        arguments: Sequence[str] | None = None,
        crash_at: str | None = None,
        freeze_at: str | None = None,
    ) -> None:
        """Does not wait until it is ready. With `static` membership its instance id is its name. `crash_at` and `freeze_at` name a point
        of `crash_points`."""
        if name in self._members and self.alive(name):
            raise RuntimeError(f"{name} runs already as process {self.pid(name)}")
        port = free_port()
        ports = {"CARTSTREAM_METRICS_PORT": str(port), "CARTSTREAM_INSIGHTS_PORT": str(free_port())}
        given = {**self._env, **ports, **({"CARTSTREAM_INSTANCE_ID": name} if self.static else {})}
        words = list(arguments or ("run", name.partition("-")[0]))
        point = (crash_at, signal.SIGKILL) if crash_at else (freeze_at, signal.SIGSTOP) if freeze_at else None
        process = self._nursery.start(words, {**given, **(env or {})}, str(self._out / f"{name}.log"), point)
        self._members[name] = _Member(process, port)

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def pid(self, name: str) -> int:
        return self._members[name].process.pid

    def alive(self, name: str) -> bool:
        return self._members[name].process.poll() is None

    def code(self, name: str) -> int | None:
        """The exit code (negative: the signal), None while it runs."""
        return self._members[name].process.poll()

    def ready(self, name: str) -> bool:
        return answers(f"{self.url(name)}/readyz")

    def url(self, name: str) -> str:
        """Where `/metrics`, `/livez` and `/readyz` are."""
        return f"http://{HOST}:{self._members[name].port}"

    def wait_ready(self, names: Iterable[str] | None = None, seconds: float = READY_SECONDS) -> None:
        """Raises AssertionError naming those that are not in time, or one that has ended."""
        for name in list(self.names if names is None else names):
            self.until(name, lambda name=name: self.ready(name), "ready", seconds)  # type: ignore[misc]

    def until(self, name: str, condition: Callable[[], bool], what: str, seconds: float = READY_SECONDS) -> None:
        """Wait while the process lives. Raises AssertionError."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.alive(name), f"{name} ended with {self.code(name)} before it was {what}: {self.last_words(name)}"
            assert time.monotonic() < end, f"{name} is not {what} after {seconds:.0f} s: {self.last_words(name)}"
            time.sleep(_POLL_S)

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        self._members[name].process.signal(signal.SIGKILL)
        self._members[name].process.wait()

    def stop(self, name: str, seconds: float = 30.0) -> int:
        """SIGTERM; gives the exit code. Raises TimeoutError."""
        self._members[name].process.signal(signal.SIGTERM)
        return self._members[name].process.wait(seconds)

    def wait(self, name: str, seconds: float = 30.0) -> int:
        """Until it has ended by itself; gives the exit code. Raises TimeoutError."""
        return self._members[name].process.wait(seconds)

    def freeze(self, name: str) -> None:
        self._members[name].process.signal(signal.SIGSTOP)

    def frozen(self, name: str) -> bool:
        """Whether it stands still, by its own hand or ours."""
        return Path(f"/proc/{self.pid(name)}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def thaw(self, name: str) -> None:
        self._members[name].process.signal(signal.SIGCONT)

    def forget(self, name: str) -> None:
        """One that has ended and is not to come again."""
        del self._members[name]

    def testify(self) -> None:
        """Where each process that runs is, into its log, and what it counted, beside it: for whoever asks later what went wrong."""
        for name, member in self._members.items():
            if self.alive(name):
                member.process.signal(signal.SIGUSR1)
                (self._out / f"{name}.metrics").write_text(self.answer(name, "/readyz") + self.answer(name, "/metrics"))

    def answer(self, name: str, path: str) -> str:
        """What it says there, or why it does not."""
        try:
            with urllib.request.urlopen(self.url(name) + path, timeout=2.0) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as refused:
            return f"# {path}: {refused.code} {refused.read().decode()}\n"
        except OSError as error:
            return f"# {path}: {error}\n"

    def kill_all(self) -> None:
        for member in self._members.values():
            member.process.signal(signal.SIGKILL)
        for member in self._members.values():
            member.process.wait()

    def metric(self, name: str, metric: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels; 0 where the process does not answer."""
        try:
            with urllib.request.urlopen(f"{self.url(name)}/metrics", timeout=2.0) as response:
                return summed(response.read().decode(), metric, labels)
        except (urllib.error.URLError, OSError):
            return 0.0

    def last_words(self, name: str) -> str:
        log = self._out / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return " / ".join(lines[-3:])[-1_500:] or "it wrote nothing"


def summed(exposition: str, metric: str, labels: Mapping[str, str]) -> float:
    total = 0.0
    for line in exposition.splitlines():
        match = re.match(rf"{metric}(?:\{{(.*)\}})? (\S+)$", line)
        if match and all(f'{label}="{wanted}"' in (match[1] or "") for label, wanted in labels.items()):
            total += float(match[2])
    return total
