"""One command's way: look, judge, render, claim, call, record. The ledger is written before the call and after it."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec.structs import replace
from redis.asyncio import Redis

from cartstream.errors import Refused
from cartstream.events.records import Command
from cartstream.runtime.clock import Clock
from cartstream.runtime.log import logger
from cartstream.runtime.metrics import SenderMetrics
from cartstream.runtime.vault import AddressHash, Sealed, Vault
from cartstream.senders.channel import Channel, Letter
from cartstream.senders.contacts import Desk, Standing
from cartstream.senders.errand import DEAD, Case, Done, Errand, Wait, done_of
from cartstream.senders.guard import Stop, judge
from cartstream.senders.ledger import Entry, Found, Ledger, Swap, real_ms
from cartstream.senders.limits import Gate, Limiter
from cartstream.senders.outcomes import Answer, Outcome
from cartstream.senders.readiness import Readiness, insist
from cartstream.senders.settings import SenderSettings

T = TypeVar("T")
_SHORTEST_WAIT_S = 0.02
_LONGEST_THROTTLE_S = 60.0
_AHEAD = 3
"""Commands on their way for each call: while some are called for, others are looked at and written down, many at once."""
_FRESH_S = 0.05
"""What was found about a customer is as good as new for so long."""
_SHORTEST_SETTLE_MS = 250
_KINDS = {"email": "email", "sms": "phone", "push": "push"}
_UNREACHABLE = ("bad_address", "unsafe_endpoint")


@dataclass(frozen=True, slots=True)
class Ports:
    """What a courier works with."""

    redis: Redis
    desk: Desk
    ledger: Ledger
    limiter: Limiter
    gate: Gate
    vault: Vault
    hash: AddressHash
    clock: Clock
    metrics: SenderMetrics
    readiness: Readiness


class Courier:
    def __init__(self, channel: Channel, ports: Ports, settings: SenderSettings) -> None:
        self._channel, self._ports, self._settings = channel, ports, settings
        self._places, self._lines = asyncio.Semaphore(channel.in_flight * _AHEAD), asyncio.Semaphore(channel.in_flight)
        self._settle_ms = (settings.send_timeout_s + settings.send_settle_s) * 1000
        # A call that begins later may still be under way when others settle it.
        self._stale_ms = max(settings.send_settle_s * 1000, _SHORTEST_SETTLE_MS)
        # Made here and not when the module is loaded: processes may be forked from one that has loaded it.
        self._token, self._tokens = secrets.token_hex(12), itertools.count()
        self._calls = 0
        ports.metrics.in_flight.set_function(lambda: self._calls)

    async def carry(self, errand: Errand) -> Done:
        """Until it is done. May be cancelled while not `errand.critical`. A waiting command holds no place."""
        while True:
            await self._places.acquire()
            try:
                step = await self._hold_place(errand)
            finally:
                self._places.release()
            if isinstance(step, Done):
                return step
            await asyncio.sleep(step.seconds)

    async def _hold_place(self, errand: Errand) -> Done | Wait:
        while True:
            await self._ports.gate.passed()
            try:
                step = await self._attempt(errand)
            finally:
                self._hang_up(errand)
                self._ports.gate.released()
            if isinstance(step, Done) or step.seconds > 0:
                return step

    async def _attempt(self, errand: Errand) -> Done | Wait:
        command = errand.command
        standing = await self._insist(lambda: self._ports.desk.look(command))
        errand.looked_at = real_ms()
        try:
            case = Case(command, standing, Found.of(standing.entry))
        except Refused as error:
            return await self._refuse(Case(command, standing, Found(standing.entry, None)), error)
        met = await self._from_ledger(case)
        if met is not None:
            return met
        sealed = judge(command, standing, self._ports.clock.now())
        if isinstance(sealed, Stop):
            return await self._stop(case, sealed.status, sealed.reason)
        try:
            address = self._ports.vault.open(_KINDS[self._channel.name], sealed)
            gone = self._known_dead(standing, address)
            if gone is not None:
                return await self._stop(case, "unreachable", gone)
            message = self._channel.render(self._letter(case, address))
        except (Refused, Sealed) as error:
            return await self._refuse(case, error)
        if not errand.paid and await self._pay(errand, message):
            return Wait(0)
        if not await self._take_line(errand):
            return await self._attempt(errand)
        return await self._call(errand, case, message, address)

    async def _take_line(self, errand: Errand) -> bool:
        """One of the calls that may be under way. False if it took so long that the customer must be looked at again, line in hand."""
        if errand.has_line:
            return True
        began = time.monotonic()
        await self._lines.acquire()
        errand.has_line = True
        return time.monotonic() - began < _FRESH_S

    def _hang_up(self, errand: Errand) -> None:
        if errand.has_line:
            errand.has_line = False
            self._lines.release()

    async def _from_ledger(self, case: Case) -> Done | Wait | None:
        """What an earlier try left: the end of it, a call that may still be answered, or nothing that stands in the way."""
        entry = case.found.entry
        if entry is None or entry.state == "open":
            return None
        if entry.state == "final":
            return done_of(case, entry)
        left = entry.written_at + self._settle_ms - real_ms()
        if left > 0:
            return Wait(min(left / 1000, 1.0))
        if self._channel.at_least_once:
            return None
        return await self._finish(case, "ambiguous", "interrupted")

    async def _pay(self, errand: Errand, message: Any) -> bool:
        """True if it took time, so that the customer must be looked at again."""
        wait = await self._insist(lambda: self._ports.limiter.take(self._channel.cost(message)))
        errand.paid = True
        if wait > 0:
            await asyncio.sleep(wait)
        return wait > 0

    async def _call(self, errand: Errand, case: Case, message: Any, address: str) -> Done | Wait:
        if self._ports.gate.closed:
            return Wait(0)
        intent = Entry("intent", self._new_token(), real_ms(), case.found.attempts + 1, case.found.unsure)
        errand.critical = True
        try:
            claimed = await self._swap(case, intent)
            if claimed is None:
                return Wait(0)
            if real_ms() - errand.looked_at > self._stale_ms:
                return await self._give_back(case, claimed)
            errand.paid = False
            answer = await self._timed(message)
            self._hang_up(errand)
            return await self._settle(replace(case, found=claimed), answer, address)
        finally:
            errand.critical = False

    async def _give_back(self, case: Case, claimed: Found) -> Wait:
        """The process stood still, or Redis did, between the look and the claim's answer: by now the customer may have bought, and others
        may have settled this call. Surely none was made; look again."""
        logger().warning("a claim came too late to be used", command=case.command.command_id)
        entry = case.found.entry
        unclaimed = Entry(
            "open", self._new_token(), real_ms(), case.found.attempts, case.found.unsure, reason=entry.reason if entry else None
        )
        await self._swap(replace(case, found=claimed), unclaimed)
        return Wait(0)

    async def _timed(self, message: Any) -> Answer:
        began = time.perf_counter()
        self._calls += 1
        try:
            return await self._channel.send(message)
        finally:
            self._calls -= 1
            self._ports.metrics.send_seconds.observe(time.perf_counter() - began)

    async def _settle(self, case: Case, answer: Answer, address: str) -> Done | Wait:
        outcome, ports, command = answer.outcome, self._ports, case.command
        if not answer.known:
            ports.metrics.unknown_codes.inc()
            logger().warning("a provider code that no table names", code=answer.code, taken_as=outcome)
        if outcome is not Outcome.CONFIG:
            ports.gate.answered()
            ports.readiness.right("provider")
        if outcome is Outcome.OK:
            self._observe(command)
            return await self._finish(case, "accepted", None, answer.provider_id)
        if outcome in DEAD:
            await self._remember_dead(case.standing.customer_id, address, outcome)
            return await self._finish(case, "failed", outcome)
        if outcome is Outcome.CONTENT:
            logger().error("the provider refuses the message", template=command.template, code=answer.code)
            return await self._finish(case, "failed", outcome)
        if outcome is Outcome.AMBIGUOUS and not self._channel.at_least_once:
            return await self._finish(case, "ambiguous", "no_answer")
        return await self._later(case, answer)

    async def _later(self, case: Case, answer: Answer) -> Wait:
        """The call is surely over: say so, so that a crash while waiting is not ambiguous."""
        ports, outcome, attempts = self._ports, answer.outcome, case.found.attempts
        unsure = outcome is Outcome.AMBIGUOUS or (case.found.entry is not None and case.found.entry.unsure)
        await self._swap(case, Entry("open", self._new_token(), real_ms(), attempts, unsure, reason=outcome))
        ports.metrics.retries(case.command.channel, outcome).inc()
        backoff = self._backoff(attempts)
        if outcome is Outcome.THROTTLED:
            pause = answer.retry_after_s or min(backoff, _LONGEST_THROTTLE_S)
            logger().warning("the provider asks to slow down", code=answer.code, seconds=round(pause, 1))
            ports.gate.close_for(pause)
            await self._insist(lambda: ports.limiter.pause(pause))
            return Wait(0)
        if outcome is Outcome.CONFIG:
            ports.gate.halt(self._settings.send_halt_retry_s)
            ports.readiness.wrong("provider", f"answers {answer.code}: the sender's settings or account are wrong")
            return Wait(_SHORTEST_WAIT_S)
        return Wait(max(backoff, answer.retry_after_s or 0.0))

    def _new_token(self) -> str:
        """No two are the same, in whatever process."""
        return f"{self._token}{next(self._tokens):x}"

    def _backoff(self, attempts: int) -> float:
        """Exponential with full jitter, in real seconds."""
        most = min(self._settings.send_backoff_max_s, self._settings.send_backoff_s * 2 ** min(attempts - 1, 30))
        return max(_SHORTEST_WAIT_S, random.uniform(0, most) / self._ports.clock.speed)

    async def _refuse(self, case: Case, error: Refused | Sealed) -> Done | Wait:
        reason = error.reason if isinstance(error, Refused) else "sealed"
        logger().error("a message cannot be made", command=case.command.command_id, reason=reason, why=str(error))
        return await self._stop(case, "unreachable" if reason in _UNREACHABLE else "failed", reason)

    async def _stop(self, case: Case, status: str, reason: str | None) -> Done | Wait:
        """Ends without a call now. If a lost answer lies behind, the message may be out all the same."""
        if case.found.unsure:
            return await self._finish(case, "ambiguous", reason or status)
        entry = case.found.entry
        return await self._finish(case, status, reason or (entry.reason if entry else None))

    async def _finish(self, case: Case, status: str, reason: str | None, provider_id: str | None = None) -> Done | Wait:
        """Write the end into the ledger. If somebody else changed the entry, look again; what was accepted stays accepted."""
        now = self._ports.clock.now()
        final = Entry("final", self._new_token(), real_ms(), case.found.attempts, False, now, status, reason, provider_id)
        if await self._swap(case, final, force=status == "accepted") is None:
            return Wait(0)
        return done_of(case, final)

    async def _swap(self, case: Case, entry: Entry, force: bool = False) -> Found | None:
        """None, and counted, if another process wrote in between."""
        left_s = max(0, case.command.expires_at - self._ports.clock.now()) / 1000 / self._ports.clock.speed
        ttl_s = int(left_s) + self._settings.ledger_hours * 3_600
        change = Swap(case.command.command_id, case.found.raw, entry, ttl_s, force)
        written = await self._insist(lambda: self._ports.ledger.swap(change))
        if written is None:
            self._ports.metrics.fenced.inc()
            logger().warning(
                "fenced", command=case.command.command_id, why=f"another process changed the ledger before its {entry.state!r}"
            )
        return written

    def _letter(self, case: Case, address: str) -> Letter:
        command, contact = case.command, case.standing.contact
        left_s = (command.expires_at - self._ports.clock.now()) / 1000
        locale = command.locale or (contact.locale if contact else None)
        return Letter(command, case.standing.customer_id, address, locale, int(left_s))

    def _known_dead(self, standing: Standing, address: str) -> str | None:
        """Why this very address is no longer written to; a new address of the same customer is."""
        if standing.dead is None:
            return None
        reason, _, hashed = standing.dead.decode().partition(" ")
        return reason if hashed == self._ports.hash(self._channel.name, address) else None

    async def _remember_dead(self, customer_id: str, address: str, outcome: Outcome) -> None:
        key = self._ports.ledger.dead_key(customer_id)
        value = f"{outcome} {self._ports.hash(self._channel.name, address)}"
        await self._insist(lambda: self._ports.redis.set(key, value, ex=self._settings.dead_days * 86_400))

    def _observe(self, command: Command) -> None:
        clock, metrics = self._ports.clock, self._ports.metrics
        metrics.command_age.observe(max(0.0, (clock.now() - command.at) / 1000 / clock.speed))
        if command.cause_at > 0:
            seconds = (clock.now() - command.cause_at) / 1000 / clock.speed
            metrics.end_to_end(command.channel, command.journey).observe(max(0.0, seconds))

    def _insist(self, call: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        return insist("redis", self._ports.readiness, call)
