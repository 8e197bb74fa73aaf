"""`cartstream demo`: shoppers, or a file of events, through the whole pipeline on this machine."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import click


@click.command()
@click.option("--input", "source", type=click.Path(path_type=Path), help="a file of events instead of simulated shoppers")
@click.option("--format", "layout", help="the file's format; without it told from the first line")
@click.option("--duration", type=click.FloatRange(20), default=60.0, show_default=True, help="real seconds of play")
@click.option("--plain", is_flag=True, help="a line every few seconds instead of a live view")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/demo"), show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="the same seed, the same shoppers")
@click.option("--shoppers", type=click.IntRange(1), help="how many; default 20 for every second of play")
@click.option("--without", multiple=True, metavar="SERVICE", help="leave a service out, e.g. insights")
def demo(
    source: Path | None,
    layout: str | None,
    duration: float,
    plain: bool,
    out: Path,
    seed: int,
    shoppers: int | None,
    without: tuple[str, ...],
) -> None:
    """Watch the whole pipeline at work. Exit code 0 only if every message came, once, and none after the purchase."""
    from rich.console import Console

    from cartstream.demo import recording, simulation
    from cartstream.demo.pipeline import Stagecraft
    from cartstream.demo.screen import showing
    from cartstream.up.launch import stopping_on_signals

    out.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    with stopping_on_signals(stop), showing(plain or not sys.stdout.isatty(), out) as (show, say):
        stage = Stagecraft(duration, out, show, say, stop.is_set, without)
        if source is not None:
            summary, good = recording.play(source, layout, stage)
        else:
            summary, good = simulation.play(seed, shoppers, stage)
    summary.print(Console())
    raise SystemExit(0 if good else 1)
