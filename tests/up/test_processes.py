from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from cartstream.embedded.child import free_port
from cartstream.errors import CartstreamError, Unavailable
from cartstream.up.processes import Processes, answers

WAIT_SECONDS = 30.0


class Log:
    """What processes said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def say(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def has(self, name: str, text: str) -> bool:
        return any(said == name and text in line for said, line in self.lines)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def processes(log: Log) -> Iterator[Processes]:
    with Processes({"CARTSTREAM_BROKERS": f"127.0.0.1:{free_port()}"}, log.say) as processes:
        yield processes


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def start_fakes(processes: Processes, log: Log, name: str = "fakes") -> int:
    processes.start(name, arguments=["fakes"])
    wait_for(lambda: log.has(name, "smtp_port"))
    return processes.pid(name)


def test_a_process_writes_under_its_name_and_stops_when_told(processes: Processes, log: Log) -> None:
    pid = start_fakes(processes, log)

    assert processes.alive("fakes")
    assert processes.stop("fakes") == 0
    assert gone(pid)
    assert processes.ended() is None


def test_a_service_answers_on_the_port_it_was_given_and_says_that_it_is_not_ready(processes: Processes) -> None:
    processes.start("detection")
    wait_for(lambda: answers(f"{processes.metrics_url('detection')}/livez"))

    assert not processes.ready("detection")
    with pytest.raises(Unavailable, match="not ready after 0 s: detection"):
        processes.wait_ready(seconds=0)


def test_a_setting_for_one_process_is_put_over_those_for_all(processes: Processes) -> None:
    port = free_port()
    processes.start("fakes-2", {"CARTSTREAM_FAKES_HTTP_PORT": str(port)}, ["fakes"])

    wait_for(lambda: answers(f"http://127.0.0.1:{port}/livez"))


def test_a_process_that_ends_by_itself_is_named_with_its_exit_code(processes: Processes) -> None:
    processes.start("sms", {"CARTSTREAM_TWILIO_SID": ""})
    wait_for(lambda: processes.ended() is not None)

    assert processes.ended() == ("sms", 2)
    with pytest.raises(Unavailable, match="sms ended with exit code 2"):
        processes.wait_ready()


def test_a_killed_process_is_gone_and_may_be_started_again(processes: Processes, log: Log) -> None:
    pid = start_fakes(processes, log)
    processes.kill("fakes")

    assert gone(pid)
    assert not processes.alive("fakes")
    log.lines.clear()
    assert start_fakes(processes, log) != pid


def test_a_name_that_runs_is_not_started_twice(processes: Processes, log: Log) -> None:
    start_fakes(processes, log)

    with pytest.raises(CartstreamError, match="fakes runs already"):
        processes.start("fakes", arguments=["fakes"])


def test_a_process_that_does_not_stop_is_killed_after_the_limit(processes: Processes, log: Log) -> None:
    pid = start_fakes(processes, log)
    os.kill(pid, signal.SIGSTOP)

    assert processes.stop("fakes", seconds=0.2) == -signal.SIGKILL
    assert gone(pid)
    assert log.has("fakes", "did not stop")


def test_all_are_stopped_at_the_end_of_the_block(log: Log) -> None:
    with Processes({}, log.say) as processes:
        pids = [start_fakes(processes, log, name) for name in ("fakes-1", "fakes-2")]

    assert all(map(gone, pids))


def test_every_process_has_a_port_of_its_own(processes: Processes, log: Log) -> None:
    for name in ("fakes-1", "fakes-2", "fakes-3"):
        start_fakes(processes, log, name)

    assert len({processes.metrics_url(name) for name in processes.names}) == 3


def test_a_name_that_was_never_started_is_refused(processes: Processes) -> None:
    with pytest.raises(CartstreamError, match="no process 'email' here"):
        processes.pid("email")


def test_nothing_answers_where_nobody_listens() -> None:
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{free_port()}/", timeout=1)
    assert not answers(f"http://127.0.0.1:{free_port()}/")
