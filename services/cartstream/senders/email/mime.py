"""E-mails as bytes: the constant part is made once for each template and locale, the rest filled in for each message.

Bodies are base64, so nothing in them can end a part or a line; headers take no control characters, and non-ASCII ones are RFC 2047.
"""

from __future__ import annotations

import binascii
import email.header
import time
from collections import deque
from dataclasses import dataclass
from email.utils import formataddr, formatdate, parseaddr

from email_validator import EmailNotValidError, validate_email

from cartstream.errors import ConfigError, Refused
from cartstream.senders.channel import Letter
from cartstream.senders.settings import EmailSettings
from cartstream.senders.templates import Templates, one_line, split_title
from cartstream.senders.unsubscribe import Unsubscribe

_BOUNDARY = b"=_cartstream_alternative"  # "=_" cannot occur in base64
_PART = b"--%s\r\nContent-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n"


@dataclass(frozen=True, slots=True)
class Mail:
    """Ready to hand over. `recipient` is the envelope's and must not be logged."""

    recipient: str
    content: bytes


class MailWriter:
    """Raises ConfigError if the sender's own addresses are wrong."""

    def __init__(self, settings: EmailSettings) -> None:
        self.sender = _own_address(settings.email_from, "CARTSTREAM_EMAIL_FROM")
        self._domain = self.sender.rpartition("@")[2]
        self._templates = Templates("email", settings)
        self._links = Unsubscribe(settings.hash_key.get_secret_value())
        self._unsubscribe_url = settings.unsubscribe_url
        self._idempotency = settings.email_idempotency_header
        self._constant = _constant_headers(settings, self.sender)

    def write(self, letter: Letter) -> Mail:
        """Raises Refused (`bad_address`, `no_template`, `bad_template`)."""
        recipient = _recipient(letter.address)
        link = self._link(letter)
        subject, text = split_title(self._templates.fill(letter, "txt", unsubscribe_url=link))
        html = self._templates.fill(letter, "html", unsubscribe_url=link, subject=subject)
        content = b"".join(
            (
                self._headers(letter, recipient, subject, link),
                b"\r\n",
                _PART % (_BOUNDARY, b"plain", _base64(text)),
                _PART % (_BOUNDARY, b"html", _base64(html)),
                b"--%s--\r\n" % _BOUNDARY,
            )
        )
        return Mail(recipient, content)

    def _headers(self, letter: Letter, recipient: str, subject: str, link: str | None) -> bytes:
        command = letter.command
        lines = [
            f"To: {recipient}",
            f"Subject: {_encoded(subject)}",
            f"Date: {_date()}",
            f"Message-ID: <{one_line(command.command_id)}@{self._domain}>",
            f"X-Cartstream-Command: {one_line(command.command_id)}",
            f"X-Cartstream-Step: {_encoded(f'{command.journey}/{command.step}')}",
        ]
        if link is not None:
            lines += [f"List-Unsubscribe: <{link}>", "List-Unsubscribe-Post: List-Unsubscribe=One-Click"]
        if self._idempotency:
            lines.append(f"{self._idempotency}: {one_line(command.command_id)}")
        return self._constant + "\r\n".join(lines).encode() + b"\r\n"

    def _link(self, letter: Letter) -> str | None:
        if not self._unsubscribe_url:
            return None
        return self._unsubscribe_url + self._links.token(letter.customer_id, "email")


def _constant_headers(settings: EmailSettings, sender: str) -> bytes:
    lines = [f"From: {formataddr((one_line(settings.shop_name), sender), 'utf-8')}"]
    if settings.email_reply_to:
        lines.append(f"Reply-To: {_own_address(settings.email_reply_to, 'CARTSTREAM_EMAIL_REPLY_TO')}")
    lines += ["MIME-Version: 1.0", f'Content-Type: multipart/alternative; boundary="{_BOUNDARY.decode()}"']
    return "\r\n".join(lines).encode() + b"\r\n"


def _own_address(text: str, variable: str) -> str:
    address = parseaddr(text)[1]
    if "@" not in address or one_line(text) != text:
        raise ConfigError(f"{variable} is not an e-mail address: set it to one like shop@example.com")
    return address


def _recipient(address: str) -> str:
    """Plain ASCII addresses, which nearly all are, are taken at sight; the rest is validated and its domain punycoded."""
    local, at, domain = address.partition("@")
    if at and _DOT_ATOM.issuperset(local) and _HOST.issuperset(domain) and 0 < len(local) <= 64 and "." in domain:
        return address
    try:
        found = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise Refused("bad_address", "the contact's e-mail address is not one") from error
    if found.ascii_email is None:
        raise Refused("bad_address", "the contact's e-mail address needs SMTPUTF8, which this sender does not speak")
    return found.ascii_email


_HOST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
_DOT_ATOM = _HOST | frozenset("!#$%&'*+/=?^_`{|}~")


def _encoded(text: str) -> str:
    line = one_line(text)
    if line.isascii() and len(line) < 900:
        return line
    return email.header.Header(line, "utf-8", maxlinelen=75).encode(linesep="\r\n")


def _base64(text: str) -> bytes:
    """In lines of 76 characters."""
    whole = binascii.b2a_base64(text.replace("\n", "\r\n").encode(), newline=False)
    return b"\r\n".join([whole[at : at + 76] for at in range(0, len(whole), 76)])


_dates: deque[tuple[int, str]] = deque(maxlen=1)


def _date() -> str:
    """Of this second; formatting it costs more than the rest of the headers."""
    now = int(time.time())
    if not _dates or _dates[0][0] != now:
        _dates.append((now, formatdate(now)))
    return _dates[0][1]
