"""What a provider's answer means: tables, one for each kind of provider. A code that no row names has an explicit default."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """OK: taken. TRANSIENT: try again until the command expires. THROTTLED: the whole sender waits. RECIPIENT_DEAD and
    OPTED_OUT: never again to this address. CONTENT: this message is wrong. CONFIG: the sender is wrong and stops.
    AMBIGUOUS: the request was written and no answer came."""

    OK = "ok"
    TRANSIENT = "transient"
    THROTTLED = "throttled"
    RECIPIENT_DEAD = "recipient_dead"
    OPTED_OUT = "opted_out"
    CONTENT = "content"
    CONFIG = "config"
    AMBIGUOUS = "ambiguous"


class Answer(msgspec.Struct, frozen=True):
    """What one provider call came to. `code` is the provider's own, for logs; `known` is false if no table names it."""

    outcome: Outcome
    code: str
    provider_id: str | None = None
    retry_after_s: float | None = None
    known: bool = True


_O = Outcome

# RFC 3463 enhanced codes and texts, first match wins; then the reply codes of RFC 5321. Big hosts answer 4xx for dead mailboxes
# and 5xx for policy, so the finer rows come first.
SMTP_PATTERNS: tuple[tuple[str, Outcome], ...] = (
    (r"^5\d\d .*(suppress|unsubscrib|opted.?out)", _O.OPTED_OUT),
    (r"^[45]\d\d [45]\.7\.(26|27|30|32)\b", _O.CONFIG),
    (r"^[45]\d\d .*(user unknown|no such user|mailbox (not found|unavailable|does not exist)|unknown (user|recipient))", _O.RECIPIENT_DEAD),
    (r"^5\d\d 5\.1\.(1|2|3|6|10)\b", _O.RECIPIENT_DEAD),
    (r"^5\d\d 5\.2\.1\b", _O.RECIPIENT_DEAD),
    (r"^4\d\d .*(rate limit|too many|throttl|sending rate exceeded)", _O.THROTTLED),
    (r"^4\d\d 4\.7\.28\b", _O.THROTTLED),
    (r"^5\d\d 5\.7\.(8|9|14)\b", _O.CONFIG),
)
SMTP_REPLIES: Mapping[int, Outcome] = {
    421: _O.TRANSIENT,
    450: _O.TRANSIENT,
    451: _O.TRANSIENT,
    452: _O.TRANSIENT,
    454: _O.TRANSIENT,
    500: _O.CONTENT,
    501: _O.CONTENT,
    502: _O.CONFIG,
    503: _O.CONFIG,
    504: _O.CONFIG,
    530: _O.CONFIG,
    534: _O.CONFIG,
    535: _O.CONFIG,
    538: _O.CONFIG,
    550: _O.RECIPIENT_DEAD,
    551: _O.RECIPIENT_DEAD,
    552: _O.CONTENT,
    553: _O.RECIPIENT_DEAD,
    554: _O.CONTENT,
    555: _O.CONTENT,
}

# Twilio's error codes; the HTTP status decides only when the body names no code.
TWILIO_CODES: Mapping[int, Outcome] = {
    20003: _O.CONFIG,
    20404: _O.CONFIG,
    20429: _O.THROTTLED,
    20500: _O.TRANSIENT,
    20503: _O.TRANSIENT,
    21211: _O.RECIPIENT_DEAD,
    21212: _O.CONFIG,
    21217: _O.RECIPIENT_DEAD,
    21401: _O.RECIPIENT_DEAD,
    21408: _O.CONFIG,
    21606: _O.CONFIG,
    21610: _O.OPTED_OUT,
    21611: _O.THROTTLED,
    21612: _O.CONTENT,
    21614: _O.RECIPIENT_DEAD,
    21617: _O.CONTENT,
    21635: _O.RECIPIENT_DEAD,
    21703: _O.CONFIG,
    30001: _O.THROTTLED,
    30003: _O.TRANSIENT,
    30005: _O.RECIPIENT_DEAD,
    30006: _O.RECIPIENT_DEAD,
    30007: _O.CONTENT,
    30008: _O.TRANSIENT,
    30022: _O.THROTTLED,
    30027: _O.THROTTLED,
    30034: _O.CONFIG,
}
TWILIO_STATUSES: Mapping[int, Outcome] = {
    400: _O.CONTENT,
    401: _O.CONFIG,
    403: _O.CONFIG,
    404: _O.CONFIG,
    408: _O.TRANSIENT,
    429: _O.THROTTLED,
}

# RFC 8030. 403 means a bad VAPID key, but Apple also says it for dead subscriptions: see push.webpush for the strike rule.
WEBPUSH_STATUSES: Mapping[int, Outcome] = {
    400: _O.CONTENT,
    401: _O.CONFIG,
    403: _O.CONFIG,
    404: _O.RECIPIENT_DEAD,
    408: _O.TRANSIENT,
    410: _O.RECIPIENT_DEAD,
    413: _O.CONTENT,
    429: _O.THROTTLED,
}

_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), outcome) for pattern, outcome in SMTP_PATTERNS)


def smtp(code: int, text: str) -> Answer:
    """An SMTP reply. Unknown 4xx are transient, unknown 5xx the message's fault."""
    if 200 <= code < 300:
        return Answer(_O.OK, str(code))
    line = f"{code} {text}"
    for pattern, outcome in _PATTERNS:
        if pattern.search(line):
            return Answer(outcome, str(code))
    found = SMTP_REPLIES.get(code)
    return Answer(found or (_O.CONTENT if code >= 500 else _O.TRANSIENT), str(code), known=found is not None)


def twilio(status: int, code: int | None, retry_after_s: float | None = None) -> Answer:
    """A refusal of a Twilio-compatible API. Unknown codes follow the status; unknown 4xx are the message's fault."""
    found = TWILIO_CODES.get(code) if code else None
    outcome = found or _http(TWILIO_STATUSES, status)
    known = found is not None or (not code and (status in TWILIO_STATUSES or status >= 500))
    return Answer(outcome, f"{status}/{code}" if code else str(status), retry_after_s=retry_after_s, known=known)


def webpush(status: int, retry_after_s: float | None = None) -> Answer:
    """A push service's answer. Unknown 4xx are the message's fault."""
    if 200 <= status < 300:
        return Answer(_O.OK, str(status))
    known = status in WEBPUSH_STATUSES or status >= 500
    return Answer(_http(WEBPUSH_STATUSES, status), str(status), retry_after_s=retry_after_s, known=known)


def _http(table: Mapping[int, Outcome], status: int) -> Outcome:
    return table.get(status) or (_O.TRANSIENT if status >= 500 else _O.CONTENT)


def retry_after(value: bytes | None) -> float | None:
    """Seconds of a Retry-After header; its date form is rare with these providers and counts as none."""
    try:
        seconds = float(value) if value else None
    except ValueError:
        return None
    return max(0.0, seconds) if seconds is not None and math.isfinite(seconds) else None
