"""`python -m tests.drills NAME [--seed N] [--short]`: one JSON line; exit code 1 when a promise is broken. Without NAME: the list."""

from __future__ import annotations

import argparse
import json
import sys

from cartstream.runtime import log
from tests.drills.drill import OUT, Ground
from tests.drills.registry import DRILLS
from tests.drills.surroundings import usual


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills")
    parser.add_argument("name", nargs="?", help="which drill; without it all are listed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="the form that `make test` runs")
    wanted = parser.parse_args()
    if not wanted.name:
        for drill in DRILLS.values():
            print(f"{drill.name:<16}{drill.about}")
        return 0
    if wanted.name not in DRILLS:
        print(f"no drill {wanted.name!r}: there are {', '.join(DRILLS)}", file=sys.stderr)
        return 2
    log.configure("error", "json", service="drill")
    OUT.mkdir(parents=True, exist_ok=True)
    with usual(OUT) as surroundings:
        line, kept = DRILLS[wanted.name].run(Ground(surroundings), wanted.seed, short=wanted.short)
    print(json.dumps(line), flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
