"""The fake SMS API, push service and control API, on one port."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec
from aiohttp import web

from cartstream.errors import Refused
from cartstream.fakes import push
from cartstream.fakes.failures import Failure, Failures
from cartstream.fakes.inbox import Inbox

_encode = msgspec.json.Encoder().encode
_read_failure = msgspec.json.Decoder(Failure, strict=False).decode


class Api:
    """Answers every request of the port. One plain handler without a router: it must not be slower than what it tests."""

    def __init__(self, inbox: Inbox, failures: Failures) -> None:
        self._inbox, self._failures = inbox, failures
        self.base_url = ""
        self._gone: set[str] = set()
        self._minted = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, method = request.path, request.method
        try:
            if method == "POST" and path.startswith("/push/send/"):
                return await self._push(request, path.removeprefix("/push/send/"))
            if method == "POST" and path.startswith("/2010-04-01/Accounts/"):
                return await self._sms(request)
            return await self._control(request, method, path)
        except Refused as error:
            status = int(error.reason) if error.reason.isdigit() else 400
            return _json({"message": error.detail}, status)

    async def _sms(self, request: web.BaseRequest) -> web.StreamResponse:
        form = {name: values[0] for name, values in parse_qs((await request.read()).decode()).items()}
        if not request.headers.get("Authorization", "").startswith("Basic "):
            return _json({"code": 20003, "message": "Authenticate"}, 401)
        to, body = form.get("To", ""), form.get("Body", "")
        if not to.startswith("+"):
            return _json({"code": 21211, "message": "The 'To' number is not a valid phone number."}, 400)
        failure = self._failures.next("sms", to)
        if failure is not None and not failure.accepts:
            return await self._fail(request, failure)
        query = {name: values[0] for name, values in parse_qs(urlsplit(form.get("StatusCallback", "")).query).items()}
        ids = (query.get("command"), query.get("journey"), query.get("step"))
        number = self._inbox.take("sms", to, ids, body[:60], body.encode())
        if failure is not None:
            return await self._fail(request, failure)
        return _json({"sid": f"SM{number:032x}", "status": "queued", "to": to}, 201)

    async def _push(self, request: web.BaseRequest, number: str) -> web.StreamResponse:
        body = await request.read()
        if number in self._gone:
            return _json({"message": "unsubscribed"}, 410)
        failure = self._failures.next("push", number)
        if failure is not None and not failure.accepts:
            return await self._fail(request, failure)
        payload, opened = push.open_message(number, request.headers, body, self.base_url)
        self._inbox.take("push", number, (payload.id, payload.journey, payload.step), payload.title, opened)
        if failure is not None:
            return await self._fail(request, failure)
        return web.Response(status=201)

    async def _fail(self, request: web.BaseRequest, failure: Failure) -> web.StreamResponse:
        if failure.status is not None:
            headers = {} if failure.retry_after is None else {"Retry-After": f"{failure.retry_after:g}"}
            return _json({"code": failure.code, "message": failure.text}, failure.status, headers)
        if failure.mode.endswith("timeout"):
            await self._failures.hang()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _control(self, request: web.BaseRequest, method: str, path: str) -> web.StreamResponse:
        match method, path.strip("/").split("/"):
            case "GET", ["livez"]:
                return web.Response(text="ok\n")
            case "GET", ["counts"]:
                return _json(self._inbox.counts())
            case "GET", ["messages"]:
                return _json(self._inbox.after(_number(request.query.get("after", "0"))))
            case "GET", ["messages", n]:
                content = self._inbox.content(_number(n))
                return web.Response(status=404) if content is None else web.Response(body=content)
            case "POST", ["fail"]:
                return await self._plan(request)
            case "POST", ["reset"]:
                self._inbox.clear()
                self._failures.clear()
                self._gone.clear()
                return web.Response(status=204)
            case "POST", ["push", "subscriptions"]:
                return _json(self._mint(request.query.get("count")), 201)
            case "DELETE", ["push", "subscriptions", number]:
                self._gone.add(number)
                return web.Response(status=204)
            case "POST", ["callbacks", "sms"]:
                return web.Response(status=204)
        return _json({"message": f"no {method} {path} here"}, 404)

    async def _plan(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            self._failures.plan(_read_failure(await request.read()))
        except msgspec.DecodeError as error:
            raise Refused("bad_failure", str(error)) from error
        return web.Response(status=204)

    def _mint(self, count: str | None) -> object:
        """One subscription, or a list of `count`."""
        first, self._minted = self._minted + 1, self._minted + min(_number(count or "1"), 100_000)
        minted = [push.subscription(self.base_url, f"sub{n}") for n in range(first, self._minted + 1)]
        return minted if count else minted[0]


def _number(text: str) -> int:
    if not text.isdigit():
        raise Refused("400", f"{text[:20]!r} is not a number")
    return int(text)


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=_encode(value), status=status, headers=headers, content_type="application/json")
