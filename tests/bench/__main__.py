"""`python -m tests.bench [NAME …]`: the median of BENCH_RUNS runs of each, one JSON line."""

from __future__ import annotations

import json
import os
import sys

from tests.bench import endurance, latency, memory, scale, senders, stages, whole
from tests.bench.ground import ground
from tests.bench.medians import medians

BENCHMARKS = {
    "identity": stages.identity,
    "sessions": stages.sessions,
    "pipeline": whole.pipeline,
    "exit_signal": latency.exit_signal,
    "email": senders.email,
    "sms": senders.sms,
    "push": senders.push,
    "memory": memory.memory,
    "million": scale.million,
    "two_processes": scale.two_processes,
    "endurance": endurance.endurance,
}
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
LONG = ("endurance",)
"""Minutes each: run once, whatever BENCH_RUNS says."""


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}: say any of {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    with ground() as on:
        for name in names or BENCHMARKS:
            runs = 1 if name in LONG else RUNS
            print(json.dumps(medians([BENCHMARKS[name](on) for _ in range(runs)])), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
