"""HTTP load by `wrk`, a program in C that costs a tenth of what it asks for."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_SCRIPT = """
local paths, at = {}, 0
function init(arguments)
  for line in io.lines(arguments[1]) do paths[#paths + 1] = line end
end
function request()
  at = at % #paths + 1
  return wrk.format("GET", paths[at])
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "us": %d, "p50": %d, "p95": %d, "p99": %d, "failed": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95),
    latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class Load(NamedTuple):
    """What came of it."""

    requests: int
    figures: dict[str, float]


def load(
    url: str,
    paths: Sequence[str],
    *,
    seconds: float,
    connections: int,
    core: int,
    key: str | None = None,
) -> Load:
    """Ask for the paths in turn, each connection again as soon as it was answered.

    Raises:
        RuntimeError: an answer was missing, or no success.
    """
    with tempfile.TemporaryDirectory() as folder:
        script, listed = Path(folder) / "paths.lua", Path(folder) / "paths"
        script.write_text(_SCRIPT)
        listed.write_text("\n".join(paths))
        command = [
            *("taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s"),
            *("-s", str(script), *(("-H", f"Authorization: Bearer {key}") if key else ()), url),
            *("--", str(listed)),
        ]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    counted = json.loads(told.strip().splitlines()[-1])
    if counted["failed"] or not counted["requests"]:
        raise RuntimeError(f"not every request succeeded: {told}")
    return Load(
        counted["requests"],
        {
            "per_s": counted["requests"] / counted["us"] * 1e6,
            **{f"{name}_ms": counted[name] / 1e3 for name in ("p50", "p95", "p99")},
        },
    )
