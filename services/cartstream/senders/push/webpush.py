"""Web Push: an aes128gcm payload (RFC 8291) posted to the subscription's endpoint."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

import aiohttp
import http_ece
import orjson
from aiohttp.resolver import DefaultResolver
from cryptography.hazmat.primitives.asymmetric import ec

from cartstream.errors import Refused
from cartstream.events.records import Command
from cartstream.senders.channel import Letter
from cartstream.senders.outcomes import Answer, Outcome, retry_after, webpush
from cartstream.senders.push.endpoint import PublicResolver, Subscription, subscription
from cartstream.senders.push.vapid import Vapid
from cartstream.senders.settings import PushSettings
from cartstream.senders.templates import Templates, one_line, split_title

_MOST_BYTES = 3_900


@dataclass(frozen=True, slots=True)
class Push:
    target: Subscription
    headers: dict[str, str]
    body: bytes


class PushChannel:
    """`Channel` over Web Push. At least once: a repeat carries the same Topic and tag, so the device shows one notification."""

    name = "push"
    at_least_once = True

    def __init__(self, settings: PushSettings) -> None:
        self._settings = settings
        self._templates = Templates("push", settings)
        self._vapid = Vapid(settings.vapid_private_key.get_secret_value(), settings.vapid_subject)
        self._session: aiohttp.ClientSession | None = None
        self._accepted_origins: set[str] = set()
        self.in_flight = settings.push_in_flight
        self.rate = settings.push_rate

    async def open(self) -> None:
        settings = self._settings
        resolver = DefaultResolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.push_in_flight,
                resolver=resolver if settings.push_allow_private else PublicResolver(resolver),
            ),
            timeout=aiohttp.ClientTimeout(total=settings.send_timeout_s),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def render(self, letter: Letter) -> Push:
        """Raises Refused (`bad_address`, `unsafe_endpoint`, `too_long`, or a template's)."""
        target = subscription(letter.address, self._settings.push_allow_http, self._settings.push_allow_private)
        payload = self._payload(letter)
        if len(payload) > _MOST_BYTES:
            raise Refused("too_long", f"template {letter.command.template!r} makes {len(payload)} bytes, push services take {_MOST_BYTES}")
        headers = {
            "Authorization": self._vapid.header(target.origin),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(max(letter.ttl_s, 1)),
            "Urgency": "high" if letter.command.journey == "exit_intent" else "normal",
            "Topic": topic_of(letter.customer_id, letter.command),
        }
        return Push(target, headers, _encrypt(payload, target))

    def cost(self, message: Push) -> int:
        return 1

    async def send(self, message: Push) -> Answer:
        assert self._session is not None
        try:
            async with self._session.post(
                message.target.endpoint, data=message.body, headers=message.headers, allow_redirects=False
            ) as response:
                answer = webpush(response.status, retry_after(response.headers.get("Retry-After")))
        except aiohttp.ClientConnectorError as error:
            return Answer(Outcome.TRANSIENT, type(error).__name__)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Answer(Outcome.AMBIGUOUS, type(error).__name__)
        return self._judged(answer, message.target.origin)

    def _judged(self, answer: Answer, origin: str) -> Answer:
        """Apple says 403 for dead subscriptions: where our key has been taken on the same origin, it is not our key."""
        if answer.outcome is Outcome.OK:
            self._accepted_origins.add(origin)
        elif answer.code == "403" and origin in self._accepted_origins:
            return Answer(Outcome.RECIPIENT_DEAD, answer.code)
        return answer

    def _payload(self, letter: Letter) -> bytes:
        command, settings = letter.command, self._settings
        title, body = split_title(self._templates.fill(letter, "txt"))
        payload: dict[str, Any] = {
            "id": command.command_id,
            "journey": command.journey,
            "step": command.step,
            "title": title,
            "body": one_line(body),
            "url": settings.shop_url + (settings.cart_path if command.cart else ""),
            "tag": topic_of(letter.customer_id, command),
        }
        return orjson.dumps(payload)


def topic_of(customer_id: str, command: Command) -> str:
    """32 base64url characters: a newer message of a journey about the same cart replaces an undelivered older one."""
    subject = f"{customer_id}\x1f{command.journey}\x1f{command.cart.version if command.cart else ''}"
    return base64.urlsafe_b64encode(hashlib.blake2b(subject.encode(), digest_size=24).digest()).decode()


def _encrypt(payload: bytes, target: Subscription) -> bytes:
    try:
        sealed: bytes = http_ece.encrypt(  # type: ignore[no-untyped-call]
            payload,
            private_key=ec.generate_private_key(ec.SECP256R1()),
            dh=target.p256dh,
            auth_secret=target.auth,
            version="aes128gcm",
        )
    except ValueError as error:
        raise Refused("bad_address", "the contact's push key is not a point of P-256") from error
    return sealed
