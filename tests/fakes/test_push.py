"""The fake push service takes what a real one would, and nothing else."""

from __future__ import annotations

from typing import Any

import aiohttp
import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cartstream.fakes.base64url import unb64
from cartstream.fakes.push import subscription
from cartstream.fakes.service import Fakes
from cartstream.senders.push.vapid import Vapid, generate

_PRIVATE, _PUBLIC = generate()
_VAPID = Vapid(_PRIVATE, "mailto:push@example.test")


def _body(minted: dict[str, Any], payload: bytes = b'{"id":"c1","title":"hi"}') -> bytes:
    keys = minted["keys"]
    sealed: bytes = http_ece.encrypt(  # type: ignore[no-untyped-call]
        payload,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=unb64(keys["p256dh"]),
        auth_secret=unb64(keys["auth"]),
        version="aes128gcm",
    )
    return sealed


def _headers(origin: str) -> dict[str, str]:
    return {"TTL": "60", "Content-Encoding": "aes128gcm", "Topic": "abc", "Authorization": _VAPID.header(origin)}


async def test_a_minted_subscription_takes_a_message_until_it_is_gone(fakes: Fakes, http: aiohttp.ClientSession) -> None:
    async with http.post("/push/subscriptions") as response:
        minted = await response.json()
    headers, body = _headers(fakes.addresses.http), _body(minted)

    async with http.post(minted["endpoint"], data=body, headers=headers) as taken:
        assert taken.status == 201
    assert fakes.inbox.after(0)[0].command_id == "c1"
    await http.delete("/push/subscriptions/" + minted["endpoint"].rpartition("/")[2])
    async with http.post(minted["endpoint"], data=body, headers=headers) as gone:
        assert gone.status == 410


async def test_subscriptions_are_minted_in_bulk(http: aiohttp.ClientSession) -> None:
    async with http.post("/push/subscriptions?count=3") as response:
        minted = await response.json()
    assert len({each["endpoint"] for each in minted}) == 3


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"TTL": ""}, 400),
        ({"Content-Encoding": "aesgcm"}, 400),
        ({"Topic": "x" * 33}, 400),
        ({"Authorization": ""}, 401),
        ({"Authorization": _VAPID.header("https://elsewhere.example")}, 403),
        ({"Authorization": "vapid t=a.b.c, k=d"}, 403),
        ({"Authorization": f"vapid t=e30.e30.{'A' * 86}, k={_PUBLIC}"}, 403),
    ],
)
async def test_what_a_push_service_refuses_is_refused(
    fakes: Fakes, http: aiohttp.ClientSession, changes: dict[str, str], status: int
) -> None:
    minted = subscription(fakes.addresses.http, "1")
    headers = _headers(fakes.addresses.http) | changes

    async with http.post(minted["endpoint"], data=_body(minted), headers=headers) as response:
        assert response.status == status
    assert not fakes.inbox.after(0)


async def test_a_payload_for_somebody_else_does_not_open(fakes: Fakes, http: aiohttp.ClientSession) -> None:
    body = _body(subscription(fakes.addresses.http, "2"))

    async with http.post("/push/send/1", data=body, headers=_headers(fakes.addresses.http)) as response:
        assert response.status == 400
