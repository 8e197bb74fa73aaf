"""The control API: what came in, how to fail, and a fresh start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from typing import Any

import aiohttp
import pytest

from cartstream.fakes.service import Fakes

_AUTH = {"Authorization": "Basic eDp5"}
_PATH = "/2010-04-01/Accounts/AC1/Messages.json"


async def _sms(http: aiohttp.ClientSession, to: str = "+491701234567", **more: str) -> tuple[int, Any]:
    async with http.post(_PATH, data={"To": to, "Body": "hello", **more}, headers=_AUTH) as response:
        return response.status, await response.json()


async def _get(http: aiohttp.ClientSession, path: str) -> Any:
    async with http.get(path) as response:
        return await response.json()


async def test_messages_are_kept_in_order_with_their_ids(http: aiohttp.ClientSession) -> None:
    await _sms(http, StatusCallback="http://x/cb?command=c1&journey=j&step=s")
    await _sms(http, "+491700000000")

    first, second = await _get(http, "/messages")
    assert {**first, "received_at": 0} == {
        "n": 1,
        "channel": "sms",
        "to": "+491701234567",
        "command_id": "c1",
        "journey": "j",
        "step": "s",
        "received_at": 0,
        "subject": "hello",
        "length": 5,
    }
    assert second["command_id"] is None
    assert await _get(http, "/messages?after=1") == [second]
    assert await _get(http, "/counts") == {"email": 0, "sms": 2, "push": 0}


async def test_only_the_last_messages_are_kept_and_all_are_counted(http: aiohttp.ClientSession) -> None:
    for _ in range(105):
        await _sms(http)

    kept = await _get(http, "/messages")
    assert [kept[0]["n"], kept[-1]["n"], len(kept)] == [6, 105, 100]
    assert [message["n"] for message in await _get(http, "/messages?after=103")] == [104, 105]
    assert (await _get(http, "/counts"))["sms"] == 105


async def test_a_planned_failure_happens_so_many_times_and_to_whom_it_should(http: aiohttp.ClientSession) -> None:
    plan = {"channel": "sms", "mode": 429, "times": 2, "retry_after": 3, "code": 20429, "to": "+491701234567"}
    async with http.post("/fail", json=plan | {"mode": "429"}) as response:
        assert response.status == 204

    assert (await _sms(http, "+491700000000"))[0] == 201
    async with http.post(_PATH, data={"To": "+491701234567", "Body": "x"}, headers=_AUTH) as refused:
        assert (refused.status, refused.headers["Retry-After"]) == (429, "3")
    assert (await _sms(http))[1]["code"] == 20429
    assert (await _sms(http))[0] == 201


@pytest.mark.parametrize(
    "plan", [{"channel": "fax", "mode": "500"}, {"channel": "sms", "mode": "200"}, {"channel": "sms", "mode": "nap"}, {}, []]
)
async def test_a_failure_that_cannot_be_is_refused(http: aiohttp.ClientSession, plan: object) -> None:
    async with http.post("/fail", json=plan) as response:
        assert response.status == 400


async def test_a_reset_forgets_messages_and_plans(http: aiohttp.ClientSession) -> None:
    await _sms(http)
    await http.post("/fail", json={"channel": "sms", "mode": "500", "times": 0})
    await http.post("/reset")

    assert await _get(http, "/messages") == []
    assert (await _sms(http))[0] == 201


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/messages?after=x", 400), ("/messages/9", 404), ("/livez", 200)])
async def test_other_paths_have_their_status(http: aiohttp.ClientSession, path: str, status: int) -> None:
    async with http.get(path) as response:
        assert response.status == status


async def test_an_sms_without_login_or_number_is_refused(http: aiohttp.ClientSession) -> None:
    assert await _sms(http, "nobody") == (400, {"code": 21211, "message": "The 'To' number is not a valid phone number."})
    async with http.post(_PATH, data={"To": "+491701234567"}) as response:
        assert response.status == 401


def test_the_process_tells_its_addresses_and_ends_when_asked() -> None:
    code = "import sys; from cartstream.fakes.service import run; sys.exit(run())"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout is not None
    with process.stdout:
        addresses = json.loads(process.stdout.readline())
        with urllib.request.urlopen(addresses["http"] + "/livez") as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_port_that_is_taken_is_one_clear_line(fakes: Fakes) -> None:
    code = "import sys; from cartstream.fakes.service import run; sys.exit(run())"
    taken = os.environ | {"CARTSTREAM_FAKES_SMTP_PORT": str(fakes.addresses.smtp_port)}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=taken, check=False)

    assert ended.returncode == 2
    assert ended.stderr.startswith("cartstream: the fake providers cannot listen")
    assert ended.stderr.count("\n") == 1
