"""What a benchmark gives: one record for programs, one table for people."""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

SCHEMA = 1

# Ours, another way to do the same job, or the least the job can cost on this machine.
Role = Literal["waymark", "peer", "bound"]


@dataclass(frozen=True, slots=True)
class Row:
    """One case of a benchmark; the figures' names carry their units."""

    case: str
    role: Role
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be. Reported, never asserted: the machine is shared."""

    text: str
    value: float
    wanted: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the value is on the right side."""
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted


@dataclass(slots=True)
class Result:
    """One benchmark's outcome, its peers and bounds measured in the same run."""

    benchmark: str
    about: str
    conditions: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """A JSON-ready dict; `schema` is raised when its meaning changes."""
        return {
            "schema": SCHEMA,
            "utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "benchmark": self.benchmark,
            "about": self.about,
            "machine": machine(),
            "conditions": self.conditions,
            "rows": [asdict(row) for row in self.rows],
            "ratios": self.ratios,
            "goals": [{**asdict(goal), "met": goal.met} for goal in self.goals],
        }

    def table(self) -> Group:
        """The same for a terminal."""
        lines = [Text(f"  {name}: {_shown(value)}") for name, value in self.ratios.items()]
        for goal in self.goals:
            sign = "<=" if goal.at_most else ">="
            verdict = ("met", "green") if goal.met else ("missed", "red")
            words = f"  goal: {goal.text} {sign} {_shown(goal.wanted)}, is {_shown(goal.value)}: "
            lines.append(Text.assemble(words, verdict))
        return Group(self._columns(), *lines)

    def _columns(self) -> Table:
        """Cases or figures across, whichever are fewer."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.figures))
        table = Table(title=f"{self.benchmark}: {self.about}", title_style="bold")
        styles = ["bold" if row.role == "waymark" else "dim" for row in self.rows]
        table.add_column()
        if len(names) < len(self.rows):
            for name in names:
                table.add_column(name, justify="right")
            for row, style in zip(self.rows, styles, strict=True):
                shown = (_shown(row.figures.get(name)) for name in names)
                table.add_row(row.case, *shown, style=style)
        else:
            for row, style in zip(self.rows, styles, strict=True):
                table.add_column(row.case, justify="right", style=style, max_width=22)
            for name in names:
                table.add_row(name, *(_shown(row.figures.get(name)) for row in self.rows))
        return table


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1min": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "psycopg": version("psycopg"),
        "code": _code(),
    }


def spread(figures: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of repeated figures."""
    return {name: sorted(values)[len(values) // 2] for name, values in figures.items()}


def _code() -> str:
    """The commit, with `-dirty` behind it when files differ from it; empty outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
