"""`python -m tests.bench [NAME …]`."""

from __future__ import annotations

import json
import sys

from tests.bench import senders, stages, whole
from tests.bench.ground import ground

BENCHMARKS = {
    "identity": stages.identity,
    "sessions": stages.sessions,
    "pipeline": whole.pipeline,
    "exit_signal": whole.exit_signal,
    "email": senders.email,
    "sms": senders.sms,
    "push": senders.push,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}: say any of {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    with ground() as on:
        for name in names or BENCHMARKS:
            print(json.dumps(BENCHMARKS[name](on)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
