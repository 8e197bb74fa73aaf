"""`cartstream events check`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cartstream.events import adapters
from cartstream.events.formats.opening import FORMS
from cartstream.events.repairs import REPAIRS


@click.group()
def events() -> None:
    """Look at events before they are sent."""


@events.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "name", help=f"{FORMS}; told from the first line if left out")
@click.option("--now", "judge_times", is_flag=True, help="judge event times too as if the events came now: too old, too far ahead")
@click.option("--faults", is_flag=True, help="only the lines that are not accepted as they are")
def check(file: Path, name: str | None, judge_times: bool, faults: bool) -> None:
    """Say of each line of FILE whether it would be accepted, repaired or refused, and why; 1 is the exit code when any is refused.

    A line is a record's value, or a record as `kcat -J` prints it; an Avro container's records count as lines.
    """
    from cartstream.identity.input import schema_source  # identity and all it needs: a service that starts must not wait for it
    from cartstream.identity.settings import replay_settings
    from cartstream.replay.check import Check, Outcome
    from cartstream.runtime.clock import parse_clock

    settings = replay_settings()
    translate = adapters.translation(file, name, schema_source(settings))
    counts: Counter[Outcome] = Counter()
    reasons: Counter[str] = Counter()
    kept = 0
    for verdict in Check(settings, translate, parse_clock(settings.clock) if judge_times else None).file(file):
        counts[verdict.outcome] += 1
        reasons.update(verdict.reasons)
        kept += verdict.events
        if not faults or verdict.outcome != Outcome.ACCEPTED:
            click.echo(str(verdict))
    Console(stderr=True).print(_summary({str(outcome): counts[outcome] for outcome in Outcome}, reasons, kept))
    raise SystemExit(1 if counts[Outcome.REFUSED] else 0)


def _summary(counts: dict[str, int], reasons: Counter[str], kept: int) -> Table:
    table = Table("", "lines", "what it is", title=f"{sum(counts.values()):,} lines, {kept:,} events kept")
    for outcome, count in counts.items():
        table.add_row(outcome, f"{count:,}", "")
    table.add_section()
    for reason, count in reasons.most_common():
        table.add_row(reason, f"{count:,}", REPAIRS.get(reason, "refused: see docs/events.md"))
    return table
