"""`python -m tests.benchmarks [names] [--out FILE] [--quick]`, or `make bench`.

Each benchmark measures its peer or bound in the same run and gives one JSON line in
bench-results/<utc>.json and one table on the terminal. Figures are reported, never asserted.
"""

import argparse
import importlib
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tests.benchmarks.processes import ROOT

# In order of what they need: pure ones first, the whole system last.
NAMES = (
    "decode", "fold", "membership", "eta", "client", "pipeline", "preview", "rest", "exports",
    "ingest", "fences", "estimates", "latency", "fanout", "webhooks",
)  # fmt: skip


def main() -> int:
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 160)
    out: Path = options.out
    out.parent.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.names or NAMES:
        started_s = time.monotonic()
        console.print(f"[dim]{name} ...[/]")
        try:
            result = importlib.import_module(f"tests.benchmarks.{name}").run(quick=options.quick)
        except Exception:  # noqa: BLE001 -- one broken benchmark must not cost the others' figures
            console.print_exception()
            failed.append(name)
            continue
        record = result.record() | {"took_s": round(time.monotonic() - started_s, 1)}
        with out.open("a") as file:
            file.write(json.dumps(record) + "\n")
        console.print(result.table())
    console.print(f"[dim]results in {out}[/]")
    if failed:
        console.print(f"[red]failed: {', '.join(failed)}[/]")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="all when none is given")
    default = ROOT / "bench-results" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    parser.add_argument("--out", type=Path, default=default, help="JSON lines are appended here")
    parser.add_argument("--quick", action="store_true", help="shorter runs, no repeats")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
