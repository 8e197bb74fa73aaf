from __future__ import annotations

import os
from pathlib import Path

from cartstream.embedded.child import free_port
from tests.drills.fleet import Fleet
from tests.drills.nursery import Nursery
from tests.runtime.live import until


def test_a_process_that_waits_says_where_and_why(tmp_path: Path) -> None:
    nowhere = {"CARTSTREAM_BROKERS": f"127.0.0.1:{free_port()}", "CARTSTREAM_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    with Nursery() as nursery:
        fleet = Fleet(nursery, {**os.environ, **nowhere}, tmp_path)
        fleet.start("sessions")
        until(lambda: "503" in fleet.answer("sessions", "/readyz"), "a reason to wait")
        fleet.testify()
        until(lambda: "Current thread" in (tmp_path / "sessions.log").read_text(), "the stacks")
        fleet.kill_all()

    told = (tmp_path / "sessions.metrics").read_text()
    assert "503" in told
    assert "cartstream_" in told
