"""SMS over `POST {base}/2010-04-01/Accounts/{sid}/Messages.json`, as Twilio and its imitators take it.

No idempotency key is documented for this call, so a lost answer is never followed by a second call.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp
import orjson
import phonenumbers

from cartstream.errors import ConfigError, Refused
from cartstream.senders.channel import Letter
from cartstream.senders.outcomes import Answer, Outcome, retry_after, twilio
from cartstream.senders.settings import SmsSettings
from cartstream.senders.sms.segments import segments
from cartstream.senders.templates import Templates

_LONGEST_VALIDITY_S = 36_000
_LONGEST_TEXT = 1_600


@dataclass(frozen=True, slots=True)
class Sms:
    form: dict[str, str]
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
        self._url = f"{settings.twilio_url.rstrip('/')}/2010-04-01/Accounts/{settings.twilio_sid}/Messages.json"
        self._session: aiohttp.ClientSession | None = None
        self.in_flight = settings.sms_in_flight
        self.rate = settings.sms_rate

    async def open(self) -> None:
        settings = self._settings
        login = f"{settings.twilio_sid}:{settings.twilio_token.get_secret_value()}"
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Basic {b64encode(login.encode()).decode()}"},
            connector=aiohttp.TCPConnector(limit=settings.sms_in_flight),
            timeout=aiohttp.ClientTimeout(total=settings.send_timeout_s),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def render(self, letter: Letter) -> Sms:
        settings, command = self._settings, letter.command
        body = self._templates.fill(letter, "txt").strip()
        if len(body) > _LONGEST_TEXT:
            raise Refused("too_long", f"template {command.template!r} makes {len(body)} characters, the API takes {_LONGEST_TEXT}")
        form = {
            "To": _number(letter.address),
            "Body": body,
            "ValidityPeriod": str(min(max(letter.ttl_s, 1), _LONGEST_VALIDITY_S)),
        }
        if settings.twilio_service:
            form["MessagingServiceSid"] = settings.twilio_service
        else:
            form["From"] = settings.sms_from
        if settings.sms_status_callback:
            query = urlencode({"command": command.command_id, "journey": command.journey, "step": command.step})
            form["StatusCallback"] = f"{settings.sms_status_callback}?{query}"
        return Sms(form, segments(body))

    def cost(self, message: Sms) -> int:
        return message.segments

    async def send(self, message: Sms) -> Answer:
        assert self._session is not None
        try:
            async with self._session.post(self._url, data=message.form, allow_redirects=False) as response:
                return _answer(response.status, response.headers.get("Retry-After"), await response.read())
        except aiohttp.ClientConnectorError as error:
            return Answer(Outcome.TRANSIENT, type(error).__name__)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Answer(Outcome.AMBIGUOUS, type(error).__name__)


def _answer(status: int, wait: str | None, body: bytes) -> Answer:
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
    """E.164. Raises Refused (`bad_address`)."""
    try:
        number = phonenumbers.parse(address, None)
    except phonenumbers.NumberParseException as error:
        raise Refused("bad_address", "the contact's phone number is not in the international form +…") from error
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
