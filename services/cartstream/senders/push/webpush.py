"""Web Push: an aes128gcm payload (RFC 8291) posted to the subscription's endpoint."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp.resolver import DefaultResolver

from cartstream.errors import Refused
from cartstream.events.records import Command
from cartstream.senders.channel import Letter
from cartstream.senders.http import HttpPool, Unsent, header_lines
from cartstream.senders.http_line import Unanswered
from cartstream.senders.outcomes import Answer, Outcome, retry_after, webpush
from cartstream.senders.push.encryption import OVERHEAD, Browser, browser, encrypt
from cartstream.senders.push.endpoint import Origin, PublicResolver, subscription
from cartstream.senders.push.vapid import Vapid
from cartstream.senders.settings import PushSettings
from cartstream.senders.templates import Templates, one_line, split_title

_MOST_BYTES = 3_900
_ORIGINS = 1_000


@dataclass(frozen=True, slots=True)
class Push:
    """Ready but for its encryption, which costs more than all the rest and is left to the call: before it, a message may be made again."""

    origin: Origin
    head: bytes
    payload: bytes = field(repr=False)
    reader: Browser = field(repr=False)

    def request(self) -> bytes:
        """No two are the same."""
        return self.head + encrypt(self.payload, self.reader)


class PushChannel:
    """`Channel` over Web Push. At least once: a repeat carries the same Topic and tag, so the device shows one notification."""

    name = "push"
    at_least_once = True

    def __init__(self, settings: PushSettings) -> None:
        self._settings = settings
        self._templates = Templates("push", settings)
        self._vapid = Vapid(settings.vapid_private_key.get_secret_value(), settings.vapid_subject)
        self._pool: HttpPool | None = None
        self._accepted_origins: set[str] = set()
        self._headers: dict[str, tuple[str, bytes]] = {}
        self.in_flight = settings.push_in_flight
        self.rate = settings.push_rate

    async def open(self) -> None:
        settings = self._settings
        resolver = DefaultResolver()
        self._pool = HttpPool(
            resolver if settings.push_allow_private else PublicResolver(resolver), settings.push_in_flight, settings.send_timeout_s
        )

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    def render(self, letter: Letter) -> Push:
        """Raises Refused (`bad_address`, `unsafe_endpoint`, `too_long`, or a template's)."""
        target = subscription(letter.address, self._settings.push_allow_http, self._settings.push_allow_private)
        topic = topic_of(letter.customer_id, letter.command)
        payload = self._payload(letter, topic)
        if len(payload) > _MOST_BYTES:
            raise Refused("too_long", f"template {letter.command.template!r} makes {len(payload)} bytes, push services take {_MOST_BYTES}")
        try:
            reader = browser(target.p256dh, target.auth)
        except ValueError as error:
            raise Refused("bad_address", "the contact's push key is not a point of P-256") from error
        urgency = "high" if letter.command.journey == "exit_intent" else "normal"
        head = f"POST {target.target} HTTP/1.1\r\nTTL: {max(letter.ttl_s, 1)}\r\nUrgency: {urgency}\r\nTopic: {topic}\r\n"
        length = b"Content-Length: %d\r\n\r\n" % (len(payload) + OVERHEAD)
        return Push(target.origin, head.encode("ascii") + self._constant(target.origin) + length, payload, reader)

    def _constant(self, origin: Origin) -> bytes:
        """The headers that all messages to a push service share, for as long as the token is good."""
        token = self._vapid.header(origin.name)
        made_with, headers = self._headers.get(origin.name, ("", b""))
        if made_with != token:
            headers = header_lines(
                {
                    "Host": origin.place.netloc,
                    "Authorization": token,
                    "Content-Encoding": "aes128gcm",
                    "Content-Type": "application/octet-stream",
                }
            )
            if len(self._headers) >= _ORIGINS:
                self._headers.clear()
            self._headers[origin.name] = token, headers
        return headers

    def cost(self, message: Push) -> int:
        return 1

    async def send(self, message: Push) -> Answer:
        assert self._pool is not None
        try:
            reply = await self._pool.call(message.origin.place, message.request())
        except Unsent as error:
            return Answer(Outcome.TRANSIENT, str(error))
        except Unanswered as error:
            return Answer(Outcome.AMBIGUOUS, str(error))
        return self._judged(webpush(reply.status, retry_after(reply.headers.get(b"retry-after"))), message.origin.name)

    def _judged(self, answer: Answer, origin: str) -> Answer:
        """Apple says 403 for dead subscriptions: where our key has been taken on the same origin, it is not our key."""
        if answer.outcome is Outcome.OK:
            self._accepted_origins.add(origin)
        elif answer.code == "403" and origin in self._accepted_origins:
            return Answer(Outcome.RECIPIENT_DEAD, answer.code)
        return answer

    def _payload(self, letter: Letter, topic: str) -> bytes:
        command = letter.command
        title, body = split_title(self._templates.fill(letter, "txt"))
        payload: dict[str, Any] = {
            "id": command.command_id,
            "journey": command.journey,
            "step": command.step,
            "title": title,
            "body": one_line(body),
            "url": self._page(command),
            "tag": topic,
        }
        return orjson.dumps(payload)

    def _page(self, command: Command) -> str:
        """What a tap opens: what the message is about."""
        if command.product is not None:
            return self._templates.product_url(command.product.product_id)
        return self._settings.shop_url + (self._settings.cart_path if command.cart else "")


def topic_of(customer_id: str, command: Command) -> str:
    """32 base64url characters: a newer message of a journey about the same cart, or product, replaces an undelivered older one."""
    about = command.product.product_id if command.product else command.cart.version if command.cart else ""
    subject = f"{customer_id}\x1f{command.journey}\x1f{about}"
    return base64.urlsafe_b64encode(hashlib.blake2b(subject.encode(), digest_size=24).digest()).decode()
