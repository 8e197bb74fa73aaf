"""What a person sees while the demo runs: stages, latency, the funnel, the last messages. Never an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cartstream.demo.readings import Stage
from cartstream.demo.truth import Message
from cartstream.events.times import EventTime, iso

LAST_MESSAGES = 8
_FUNNEL = ("signals", "commands", "deliveries")


@dataclass(slots=True)
class Picture:
    """One moment of a run. Rates are per real second; `latency` is (p50, p99) in ms, of exit nudges."""

    seconds: float
    length: float
    now: EventTime
    phase: str
    events: int
    stages: Mapping[str, Stage]
    rates: Mapping[str, tuple[float, float]]
    latency: tuple[float | None, float | None]
    funnel: Mapping[tuple[str, str], int]
    messages: Mapping[str, int]
    last: Sequence[Message] = field(default_factory=list)


def line_of(picture: Picture) -> str:
    """For machines and logs."""
    p50, p99 = picture.latency
    stages = " ".join(f"{name}={stage.received}/{stage.sent}" for name, stage in picture.stages.items())
    messages = " ".join(f"{channel}={count}" for channel, count in picture.messages.items())
    lag = sum(stage.lag for stage in picture.stages.values())
    return (
        f"{picture.seconds:6.1f} s  {iso(picture.now)[:16]}  {picture.phase}  events={picture.events}  {stages}  lag={lag}  "
        f"{messages}  p50={_ms(p50)} p99={_ms(p99)}"
    )


def render(picture: Picture) -> RenderableType:
    p50, p99 = picture.latency
    title = Text.assemble(
        ("cartstream", "bold"),
        f"   {picture.seconds:.0f} of {picture.length:.0f} s   shop time {iso(picture.now)[:16].replace('T', ' ')}   {picture.phase}   ",
        f"{picture.events:,} events   exit signal to provider p50 {_ms(p50)}, p99 {_ms(p99)}",
    )
    sides = Table.grid(expand=True)
    sides.add_column(ratio=3)
    sides.add_column(ratio=2)
    sides.add_row(Panel(_stages(picture), title="stages"), Panel(_funnel(picture), title="funnel"))
    return Group(title, sides, Panel(_messages(picture.last), title="last messages"))


def _stages(picture: Picture) -> Table:
    table = Table(box=None, expand=True)
    table.add_column("service")
    for name in ("in", "in/s", "out", "out/s", "dlq", "lag"):
        table.add_column(name, justify="right")
    for name, stage in picture.stages.items():
        into, out = picture.rates.get(name, (0.0, 0.0))
        dlq = Text(f"{stage.dlq:,}", style="red" if stage.dlq else "")
        table.add_row(name, f"{stage.received:,}", f"{into:,.0f}", f"{stage.sent:,}", f"{out:,.0f}", dlq, f"{stage.lag:,}")
    return table


def _funnel(picture: Picture) -> Table:
    table = Table(box=None, expand=True, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for level in _FUNNEL:
        parts = sorted(((count, kind) for (at, kind), count in picture.funnel.items() if at == level), reverse=True)
        table.add_row(Text(level, style="bold"), Text(f"{sum(count for count, _ in parts):,}", style="bold"))
        for count, kind in parts[:5]:
            table.add_row(f"  {kind.replace('_', ' ')}", f"{count:,}")
    return table


def _messages(last: Sequence[Message]) -> Table:
    table = Table(box=None, expand=True, show_header=False)
    for width in (8, 24, 10):
        table.add_column(width=width, no_wrap=True)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for message in reversed(last[-LAST_MESSAGES:]):
        table.add_row(message.channel, (message.journey or "").replace("_", " "), message.step or "", message.subject)
    for _ in range(LAST_MESSAGES - len(last)):
        table.add_row("", "", "", "")
    return table


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"
