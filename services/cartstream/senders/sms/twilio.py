"""SMS over `POST {base}/2010-04-01/Accounts/{sid}/Messages.json`, as Twilio and its imitators take it.

No idempotency key is documented for this call, so a lost answer is never followed by a second call.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode

import orjson
import phonenumbers
from aiohttp.resolver import DefaultResolver
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from yarl import URL

from cartstream.errors import ConfigError, Refused
from cartstream.senders.channel import Letter
from cartstream.senders.http import HttpPool, Place, Unsent, header_lines
from cartstream.senders.http_line import Unanswered
from cartstream.senders.outcomes import Answer, Outcome, retry_after, twilio
from cartstream.senders.settings import SmsSettings
from cartstream.senders.sms.segments import segments
from cartstream.senders.templates import Templates

_LONGEST_VALIDITY_S = 36_000
_LONGEST_TEXT = 1_600


@dataclass(frozen=True, slots=True)
class Sms:
    request: bytes
    segments: int


class SmsChannel:
    """`Channel` over a Twilio-compatible API."""

    name = "sms"
    at_least_once = False

    def __init__(self, settings: SmsSettings) -> None:
        if not settings.twilio_sid:
            raise ConfigError("CARTSTREAM_TWILIO_SID is empty: set the account SID")
        if not settings.twilio_service and not settings.sms_from:
            raise ConfigError("CARTSTREAM_TWILIO_SERVICE and CARTSTREAM_SMS_FROM are empty: set one of them")
        self._settings = settings
        self._templates = Templates("sms", settings)
        self._place, self._head = _constant(settings)
        self._sender = urlencode(
            {"MessagingServiceSid": settings.twilio_service} if settings.twilio_service else {"From": settings.sms_from}
        )
        self._callback = _callback(settings.sms_status_callback)
        self._pool: HttpPool | None = None
        self.in_flight = settings.sms_in_flight
        self.rate = settings.sms_rate

    async def open(self) -> None:
        self._pool = HttpPool(DefaultResolver(), self._settings.sms_in_flight, self._settings.send_timeout_s)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    def render(self, letter: Letter) -> Sms:
        command = letter.command
        text = self._templates.fill(letter, "txt").strip()
        if len(text) > _LONGEST_TEXT:
            raise Refused("too_long", f"template {command.template!r} makes {len(text)} characters, the API takes {_LONGEST_TEXT}")
        validity = min(max(letter.ttl_s, 1), _LONGEST_VALIDITY_S)
        form = f"{self._sender}&To={_quoted(_number(letter.address))}&Body={_quoted(text)}&ValidityPeriod={validity}"
        if self._callback:
            ids = (_quoted(_quoted(value)) for value in (command.command_id, command.journey, command.step))
            form += self._callback % tuple(ids)
        return Sms(b"%s%d\r\n\r\n%s" % (self._head, len(form), form.encode("ascii")), segments(text))

    def cost(self, message: Sms) -> int:
        return message.segments

    async def send(self, message: Sms) -> Answer:
        assert self._pool is not None
        try:
            reply = await self._pool.call(self._place, message.request)
        except Unsent as error:
            return Answer(Outcome.TRANSIENT, str(error))
        except Unanswered as error:
            return Answer(Outcome.AMBIGUOUS, str(error))
        return _answer(reply.status, reply.headers.get(b"retry-after"), reply.body)


def _constant(settings: SmsSettings) -> tuple[Place, bytes]:
    """Where the API is, and a request's head up to its length. Raises ConfigError."""
    try:
        url = URL(settings.twilio_url.rstrip("/")) / "2010-04-01/Accounts" / settings.twilio_sid / "Messages.json"
        if url.scheme not in ("http", "https") or not url.raw_host or not url.port:
            raise ValueError
        place = Place(url.raw_host, url.port, url.scheme == "https")
        login = b64encode(f"{settings.twilio_sid}:{settings.twilio_token.get_secret_value()}".encode()).decode()
        headers = {"Host": place.netloc, "Authorization": f"Basic {login}", "Content-Type": "application/x-www-form-urlencoded"}
        return place, b"POST %s HTTP/1.1\r\n%sContent-Length: " % (url.raw_path_qs.encode("ascii"), header_lines(headers))
    except ValueError as error:
        raise ConfigError("CARTSTREAM_TWILIO_URL is not the base address of an API: say https://…") from error


def _answer(status: int, wait: bytes | None, body: bytes) -> Answer:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = {}
    fields = parsed if isinstance(parsed, dict) else {}
    if 200 <= status < 300:
        sid = fields.get("sid")
        return Answer(Outcome.OK, str(status), provider_id=sid if isinstance(sid, str) else None)
    code = fields.get("code")
    return twilio(status, code if isinstance(code, int) else None, retry_after(wait))


def _number(address: str) -> str:
    """E.164. What identity seals is that already; anything else is parsed. Raises Refused (`bad_address`)."""
    if _E164.match(address) and any(int(address[1:end]) in COUNTRY_CODE_TO_REGION_CODE for end in (2, 3, 4)):
        return address
    try:
        number = phonenumbers.parse(address, None)
    except phonenumbers.NumberParseException as error:
        raise Refused("bad_address", "the contact's phone number is not in the international form +…") from error
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _callback(url: str) -> str:
    """The form's field, with a place for command, journey and step, each quoted twice; empty without a callback."""
    if not url:
        return ""
    return f"&StatusCallback={_quoted(f'{url}?command=').replace('%', '%%')}%s%%26journey%%3D%s%%26step%%3D%s"


def _quoted(text: str) -> str:
    """As a form's value: `quote_plus` at a third of its time."""
    return text.encode().decode("latin-1").translate(_QUOTED)


_E164 = re.compile(r"\+[1-9][0-9]{7,14}\Z")
_QUOTED = {byte: quote_plus(bytes((byte,))) for byte in range(256)}
