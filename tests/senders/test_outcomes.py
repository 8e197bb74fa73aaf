"""The tables of provider answers."""

from __future__ import annotations

import pytest

from cartstream.senders.outcomes import Outcome, retry_after, smtp, twilio, webpush


@pytest.mark.parametrize(
    ("code", "text", "outcome", "known"),
    [
        (250, "OK", Outcome.OK, True),
        (421, "4.3.2 shutting down", Outcome.TRANSIENT, True),
        (450, "4.1.1 User unknown", Outcome.RECIPIENT_DEAD, True),
        (450, "4.2.0 greylisted", Outcome.TRANSIENT, True),
        (452, "4.2.2 mailbox full", Outcome.TRANSIENT, True),
        (454, "4.7.0 Throttling failure: Maximum sending rate exceeded", Outcome.THROTTLED, True),
        (421, "4.7.28 unusual rate", Outcome.THROTTLED, True),
        (421, "4.7.32 no DMARC alignment", Outcome.CONFIG, True),
        (550, "5.7.26 unauthenticated", Outcome.CONFIG, True),
        (535, "5.7.8 bad credentials", Outcome.CONFIG, True),
        (530, "5.7.0 must issue STARTTLS", Outcome.CONFIG, True),
        (550, "5.1.1 no such user", Outcome.RECIPIENT_DEAD, True),
        (550, "5.7.1 address is on the suppression list", Outcome.OPTED_OUT, True),
        (552, "5.3.4 message too big", Outcome.CONTENT, True),
        (554, "5.7.1 spam", Outcome.CONTENT, True),
        (499, "?", Outcome.TRANSIENT, False),
        (599, "?", Outcome.CONTENT, False),
    ],
)
def test_smtp_replies_have_their_class(code: int, text: str, outcome: Outcome, known: bool) -> None:
    answer = smtp(code, text)
    assert (answer.outcome, answer.known) == (outcome, known)


@pytest.mark.parametrize(
    ("status", "code", "outcome", "known"),
    [
        (429, 20429, Outcome.THROTTLED, True),
        (401, 20003, Outcome.CONFIG, True),
        (400, 21211, Outcome.RECIPIENT_DEAD, True),
        (400, 21610, Outcome.OPTED_OUT, True),
        (400, 21408, Outcome.CONFIG, True),
        (400, 30007, Outcome.CONTENT, True),
        (500, None, Outcome.TRANSIENT, True),
        (503, 99999, Outcome.TRANSIENT, False),
        (400, 99999, Outcome.CONTENT, False),
        (418, None, Outcome.CONTENT, False),
    ],
)
def test_twilio_codes_have_their_class(status: int, code: int | None, outcome: Outcome, known: bool) -> None:
    answer = twilio(status, code)
    assert (answer.outcome, answer.known) == (outcome, known)


@pytest.mark.parametrize(
    ("status", "outcome", "known"),
    [
        (201, Outcome.OK, True),
        (404, Outcome.RECIPIENT_DEAD, True),
        (410, Outcome.RECIPIENT_DEAD, True),
        (413, Outcome.CONTENT, True),
        (429, Outcome.THROTTLED, True),
        (401, Outcome.CONFIG, True),
        (403, Outcome.CONFIG, True),
        (502, Outcome.TRANSIENT, True),
        (301, Outcome.CONTENT, False),
    ],
)
def test_push_statuses_have_their_class(status: int, outcome: Outcome, known: bool) -> None:
    answer = webpush(status)
    assert (answer.outcome, answer.known) == (outcome, known)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(b"7", 7.0), (b"0", 0.0), (b"-1", 0.0), (None, None), (b"nan", None), (b"inf", None), (b"Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_retry_after_is_read_in_seconds(header: bytes | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds
