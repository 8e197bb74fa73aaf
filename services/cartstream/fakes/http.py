"""The fake SMS API, push service and control API, on one port."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, unquote_plus, urlsplit

import msgspec

from cartstream.errors import Refused
from cartstream.fakes import push
from cartstream.fakes.failures import Failure, Failures
from cartstream.fakes.http_line import Cut, Request, Response
from cartstream.fakes.inbox import Inbox

_encode = msgspec.json.Encoder().encode
_read_failure = msgspec.json.Decoder(Failure, strict=False).decode
_PUSH = "/push/send/"
_SMS = "/2010-04-01/Accounts/"


class Api:
    """Answers every request of the port. No router: it must not be slower than what it tests."""

    def __init__(self, inbox: Inbox, failures: Failures) -> None:
        self._inbox, self._failures = inbox, failures
        self.base_url = ""
        self._gone: set[str] = set()
        self._minted = 0

    def answer(self, request: Request) -> Response | Cut:
        target = request.target
        try:
            if request.method == "POST" and target.startswith(_PUSH):
                return self._push(request, unquote(target[len(_PUSH) :]))
            if request.method == "POST" and target.startswith(_SMS):
                return self._sms(request)
            return self._control(request)
        except Refused as error:
            status = int(error.reason) if error.reason.isdigit() else 400
            return _json({"message": error.detail}, status)

    def _sms(self, request: Request) -> Response | Cut:
        form = _form(request.body.decode())
        if not request.header(b"authorization").startswith("Basic "):
            return _json({"code": 20003, "message": "Authenticate"}, 401)
        to, body = form.get("To", ""), form.get("Body", "")
        if not to.startswith("+"):
            return _json({"code": 21211, "message": "The 'To' number is not a valid phone number."}, 400)
        failure = self._failures.next("sms", to)
        if failure is not None and not failure.accepts:
            return _fail(failure)
        query = _form(form.get("StatusCallback", "").partition("?")[2])
        ids = (query.get("command"), query.get("journey"), query.get("step"))
        number = self._inbox.take("sms", to, ids, body[:60], body.encode())
        if failure is not None:
            return _fail(failure)
        return _json({"sid": f"SM{number:032x}", "status": "queued", "to": to}, 201)

    def _push(self, request: Request, number: str) -> Response | Cut:
        if number in self._gone:
            return _json({"message": "unsubscribed"}, 410)
        failure = self._failures.next("push", number)
        if failure is not None and not failure.accepts:
            return _fail(failure)
        payload, opened = push.open_message(number, request, self.base_url)
        self._inbox.take("push", number, (payload.id, payload.journey, payload.step), payload.title, opened)
        return Response(201) if failure is None else _fail(failure)

    def _control(self, request: Request) -> Response:
        url = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match request.method, url.path.strip("/").split("/"):
            case "GET", ["livez"]:
                return Response(200, b"ok\n", "text/plain")
            case "GET", ["counts"]:
                return _json(self._inbox.counts())
            case "GET", ["messages"]:
                return _json(self._inbox.after(_number(query.get("after", "0"))))
            case "GET", ["messages", n]:
                content = self._inbox.content(_number(n))
                return Response(404) if content is None else Response(200, content, "application/octet-stream")
            case "POST", ["fail"]:
                return self._plan(request)
            case "POST", ["reset"]:
                self._inbox.clear()
                self._failures.clear()
                self._gone.clear()
                return Response(204)
            case "POST", ["push", "subscriptions"]:
                return _json(self._mint(query.get("count")), 201)
            case "DELETE", ["push", "subscriptions", number]:
                self._gone.add(number)
                return Response(204)
            case "POST", ["callbacks", "sms"]:
                return Response(204)
        return _json({"message": f"no {request.method} {url.path} here"}, 404)

    def _plan(self, request: Request) -> Response:
        try:
            self._failures.plan(_read_failure(request.body))
        except msgspec.DecodeError as error:
            raise Refused("bad_failure", str(error)) from error
        return Response(204)

    def _mint(self, count: str | None) -> object:
        """One subscription, or a list of `count`."""
        first, self._minted = self._minted + 1, self._minted + min(_number(count or "1"), 100_000)
        minted = [push.subscription(self.base_url, f"sub{n}") for n in range(first, self._minted + 1)]
        return minted if count else minted[0]


def _number(text: str) -> int:
    if not text.isdigit():
        raise Refused("400", f"{text[:20]!r} is not a number")
    return int(text)


def _form(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split("&"))
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


def _fail(failure: Failure) -> Response | Cut:
    if failure.status is None:
        return Cut(after_silence=failure.mode.endswith("timeout"))
    headers = "" if failure.retry_after is None else f"Retry-After: {failure.retry_after:g}\r\n"
    return _json({"code": failure.code, "message": failure.text}, failure.status, headers)


def _json(value: object, status: int = 200, headers: str = "") -> Response:
    return Response(status, _encode(value), headers=headers)
