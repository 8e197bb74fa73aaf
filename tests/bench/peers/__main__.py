"""`python -m tests.bench.peers [--events N] [--customers N] [NAME …]`: cartstream runs in any case, last."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from tests.bench.ground import ground
from tests.bench.peers.backlog import make_backlog
from tests.bench.peers.engines import ENGINES
from tests.bench.peers.running import Failed, run_cartstream, run_peer
from tests.bench.peers.table import table
from tests.support import Missing

LEAST_EVENTS = 100_000
CARTSTREAM = "cartstream"


def main(words: list[str]) -> int:
    """0 when every output is correct; an engine that this machine cannot build is told and skipped."""
    parser = _parser()
    wanted = parser.parse_args(words)
    known = [engine.name for engine in ENGINES]
    if unknown := [name for name in wanted.names if name not in (*known, CARTSTREAM)]:
        parser.error(f"no engine named {', '.join(unknown)}: say any of {', '.join(known)}, {CARTSTREAM}")
    if wanted.events < LEAST_EVENTS:
        parser.error(f"{wanted.events} events are over before there is anything to measure: at least {LEAST_EVENTS}")
    chosen = [engine for engine in ENGINES if engine.name in (wanted.names or known)]
    customers = wanted.customers or max(1, min(50_000, wanted.events // 20))
    rows = []
    with ground() as on:
        backlog = cache(lambda clicks: make_backlog(on, clicks, customers))
        for engine in chosen:
            clicks = min(wanted.events, engine.most_clicks or wanted.events)
            rows.append(_told(engine.name, partial(run_peer, engine, on, backlog(clicks))))
        rows.append(_told(CARTSTREAM, partial(run_cartstream, on, backlog(wanted.events))))
    print(f"\n{table(rows)}")
    return 0 if all(row["check"]["correct"] for row in rows if "skipped" not in row) else 1


def _told(name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        row = run()
    except Missing as missing:
        row = {"name": name, "skipped": str(missing)}
    except Failed as failed:
        print(f"{name}: {failed}", file=sys.stderr)
        row = {"name": name, "failed": str(failed).splitlines()[0], "check": {"correct": False}}
    print(json.dumps(row), flush=True)
    return row


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--events", type=int, default=4_000_000, help="a JVM is warm after about a million")
    parser.add_argument("--customers", type=int, help="50,000, or fewer for few events")
    parser.add_argument("names", nargs="*", metavar="NAME", help="engines; all if none is named")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
