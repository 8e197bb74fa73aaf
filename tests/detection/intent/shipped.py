"""Makes the model in the package again, from retentioneering's e-commerce sample: `python -m tests.detection.intent.shipped FILE`.

The sample has no exit hints. So some come in soon after events drawn by lot; sessions and detection then tell what a live session would
have known at those moments. A session may get several, as in life, or none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import orjson
from click.testing import CliRunner

from cartstream.cli import cli
from cartstream.detection.intent import load_model
from cartstream.events import adapters
from cartstream.events.adapters.recorded import Recorded, event
from cartstream.events.times import HOUR, SECOND
from cartstream.replay.run import Replay

EVERY = 5
# Every product is 25 EUR and looked at once, every time of day is made up, and how many a shopper's visits are is the generator's choice.
LEAVE_OUT = ("cart_value", "looked_again", "hour", "weekday", "visits_before", "bought_before")
NOTE = (
    "Trained on a synthetic shop (retentioneering's e-commerce sample, Apache-2.0), with exit hints drawn by lot. It shows how the parts "
    "work together; it says nothing of real shoppers. Train your own."
)


def hinted(source: Path, most: int | None = None, seed: int = 0) -> Iterator[Recorded]:
    """The first events, and after one in `EVERY` of them an exit hint: before the device's next event, at most 10 s later."""
    draw = Random(seed)
    events = list(islice(adapters.read(source, "ecom"), most))
    following: dict[str, Recorded] = {}
    hints = []
    for number, one in reversed(list(enumerate(events))):
        later = following.get(one.key)
        following[one.key] = one
        wait = 10 * SECOND if later is None else min(10 * SECOND, (later.at - one.at) // 2)
        if draw.randrange(EVERY) == 0:
            hints.append(event(one.at + wait, one.key, f"hint-{number}", "track", "Exit Intent", properties={"trigger": "unknown"}))
    yield from sorted([*events, *hints], key=lambda one: one.at)


def label(source: Path, folder: Path, most: int | None = None) -> Path:
    """The labelled sessions of the first events, written into `folder`."""
    with Replay(folder / "replayed") as replayed:
        replayed.play(hinted(source, most), 48 * HOUR)
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
