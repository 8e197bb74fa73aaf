"""A process that has loaded every service and forks them: a start takes milliseconds instead of a second of CPU.

What it forks are processes of their own, to be killed, stopped and measured like any other. It ends, and kills what it forked, when
its standard input closes: nothing is left behind however the drill ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self

_POLL_S = 0.01


class Nursling:
    """A forked process, with the verbs of a `Popen`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery, self.pid = nursery, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code (negative: the signal), None while it runs."""
        if self.returncode is None:
            self.returncode = self._nursery.ask({"poll": self.pid})["code"]
        return self.returncode

    def wait(self, seconds: float = 30.0) -> int:
        """Raises TimeoutError."""
        until = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"process {self.pid} still runs after {seconds:.0f} s")
            time.sleep(_POLL_S)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens to one that has ended: its id stays its own until `poll` has told of the end."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Nursery:
    """`start` runs `cartstream <arguments>`. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.drills.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def start(self, arguments: Sequence[str], env: Mapping[str, str], log: str, point: tuple[str, int] | None = None) -> Nursling:
        """`env` is its whole environment; all that it writes is appended to `log`. `point`: one of `crash_points`, and a signal."""
        told = self.ask({"arguments": list(arguments), "env": dict(env), "log": log, "point": point})
        return Nursling(self, int(told["pid"]))

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the nursery has ended: see its error output")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _serve() -> None:
    """Answer questions from standard input until it closes."""
    answers = os.fdopen(os.dup(1), "w")
    _load()
    children: set[int] = set()
    for line in sys.stdin:
        question = json.loads(line)
        if "poll" in question:
            answer = {"code": _code(int(question["poll"]), children)}
        else:
            answer = {"pid": _fork(question)}
            children.add(answer["pid"] or 0)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _load() -> None:
    import cartstream.cli
    import cartstream.detection.service
    import cartstream.fakes.service
    import cartstream.identity.service
    import cartstream.insights.service
    import cartstream.journeys.service
    import cartstream.senders.service
    import cartstream.sessions.service  # noqa: F401
    from cartstream.events.avro import codec

    codec()
    gc.collect()
    gc.freeze()


def _code(pid: int, children: set[int]) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    children.discard(pid)
    return os.waitstatus_to_exitcode(status)


def _fork(question: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(question)
    except SystemExit as ended:
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)


def _become(question: dict[str, Any]) -> NoReturn:
    os.setpgid(0, 0)
    log = os.open(question["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for wanted, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(wanted, number)
    os.closerange(3, 64)
    faulthandler.register(signal.SIGUSR1, file=2)
    os.environ.clear()
    os.environ.update(question["env"])
    if question["point"] is not None:
        from tests.drills import crash_points

        crash_points.arm(*question["point"])
    from cartstream.cli import main

    sys.argv = ["cartstream", *question["arguments"]]
    main()
    raise SystemExit(0)


if __name__ == "__main__":
    _serve()
