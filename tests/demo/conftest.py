"""A short demo plays beside tests that only compute: it is begun before the first of them and judged after the last."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SECONDS = 30
SHOPPERS = 250
LIMIT_S = 120.0
_COMPUTE = ("tests/demo/", "tests/detection/", "tests/events/")


class Demo:
    """`cartstream demo` as a process, its results in `out`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        arguments = ["demo", "--plain", "--duration", str(SECONDS), "--shoppers", str(SHOPPERS), "--out", str(out)]
        command = [sys.executable, "-m", "cartstream.cli", *arguments]
        with (out / "stdout").open("wb") as stdout, (out / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)

    def ended(self) -> tuple[int, str, str]:
        """Wait for its exit code, and what it wrote to its two outputs. Raises subprocess.TimeoutExpired."""
        code = self.process.wait(LIMIT_S)
        return code, (self.out / "stdout").read_text(), (self.out / "stderr").read_text()


@pytest.fixture(scope="session")
def short_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Under way. Told to end with the session, should nobody have waited for its end."""
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(LIMIT_S)


@pytest.fixture(scope="package", autouse=True)
def begun(request: pytest.FixtureRequest) -> None:
    """The demo, if one of the session's tests is to judge it."""
    if any(_judges(item) for item in request.session.items):
        request.getfixturevalue("short_demo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where the demo is to be judged, what it plays beside comes first, then its judge, then all that has processes of its own."""
    judges = [item for item in items if _judges(item)]
    beside = [item for item in items if item.nodeid.startswith(_COMPUTE) and item not in judges]
    if judges:
        moved = {*judges, *beside}
        items[:] = [*beside, *judges, *(item for item in items if item not in moved)]


def _judges(item: pytest.Item) -> bool:
    return "short_demo" in getattr(item, "fixturenames", ())
