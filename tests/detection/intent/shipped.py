"""Makes the model in the package again, from retentioneering's e-commerce sample: `python -m tests.detection.intent.shipped FILE`.

The sample has no exit hints. So each of its sessions gets one, soon after one of its events, drawn by lot; sessions and detection
then tell what a live session would have known at that moment.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import orjson
from click.testing import CliRunner

from cartstream.cli import cli
from cartstream.detection.intent import load_model
from cartstream.events import adapters
from cartstream.events.adapters.recorded import Recorded, event
from cartstream.events.times import HOUR, MINUTE, SECOND
from cartstream.replay.run import Replay

GAP = 30 * MINUTE
# Every product is 25 EUR and looked at once, every time of day is made up, and how many a shopper's visits are is the generator's choice.
LEAVE_OUT = ("cart_value", "looked_again", "hour", "weekday", "visits_before", "bought_before")
NOTE = (
    "Trained on a synthetic shop (retentioneering's e-commerce sample, Apache-2.0), with exit hints drawn by lot. It shows how the parts "
    "work together; it says nothing of real shoppers. Train your own."
)


def hinted(source: Path, seed: int = 0) -> Iterator[Recorded]:
    """The events, and in each session one exit hint: before the next event, at most 10 s after the one that it follows."""
    draw = Random(seed)
    events = list(adapters.read(source, "ecom"))
    sessions: list[list[Recorded]] = []
    latest: dict[str, list[Recorded]] = {}
    for one in events:
        session = latest.get(one.key)
        if session is None or one.at - session[-1].at > GAP:
            session = latest[one.key] = []
            sessions.append(session)
        session.append(one)
    hints = [_hint(draw, number, session) for number, session in enumerate(sessions)]
    yield from sorted([*events, *hints], key=lambda one: one.at)


def _hint(draw: Random, number: int, session: list[Recorded]) -> Recorded:
    place = draw.randrange(len(session))
    after = session[place + 1].at if place + 1 < len(session) else session[place].at + MINUTE
    at = session[place].at + min(10 * SECOND, (after - session[place].at) // 2)
    return event(at, session[place].key, f"hint-{number}", "track", "Exit Intent", properties={"trigger": "unknown"})


def label(source: Path, folder: Path) -> Path:
    """The labelled sessions, written into `folder`."""
    with Replay(folder / "replayed") as replayed:
        replayed.play(hinted(source), 48 * HOUR)
    labelled = folder / "ecom.csv"
    _run("label", "--input", str(folder / "replayed" / "activity.jsonl"), "--output", str(labelled))
    return labelled


def main(source: Path) -> None:
    output = Path(__file__).parents[3] / "services" / "cartstream" / "detection" / "intent" / "shipped.json"
    with TemporaryDirectory() as folder:
        labelled = label(source, Path(folder))
        leave_out = [word for name in LEAVE_OUT for word in ("--leave-out", name)]
        _run("train", "--input", str(labelled), "--output", str(output), "--note", NOTE, *leave_out)
    output.with_suffix(".svg").unlink()
    print(orjson.dumps(load_model("shipped").report.auc).decode())


def _run(*words: str) -> None:
    answer = CliRunner().invoke(cli, ["detection", *words], catch_exceptions=False)
    print(answer.output)
    if answer.exit_code:
        raise SystemExit(answer.exit_code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
