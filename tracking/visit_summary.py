"""What many visits come to, per fence, per device or per day. Pure."""

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from tracking.store.visits import Visit

if TYPE_CHECKING:
    from collections.abc import Callable

GroupBy = Literal["fence", "device", "day"]


class VisitGroup(msgspec.Struct, frozen=True):
    """The visits of one fence, device or day. `*_s` are of those whose length is known."""

    key: str
    name: str
    visits: int
    open: int
    dwelled: int
    devices: int
    fences: int
    total_s: float
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    max_s: float | None


@dataclass(slots=True)
class _Tally:
    name: str = ""
    visits: int = 0
    open: int = 0
    dwelled: int = 0
    devices: set[str] = field(default_factory=set)
    fences: set[str] = field(default_factory=set)
    inside_s: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, visit: Visit, name: str) -> None:
        self.name = name
        self.visits += 1
        self.open += visit.open
        self.dwelled += visit.dwelled
        self.devices.add(visit.device)
        self.fences.add(visit.fence)
        if visit.inside_s is not None:
            self.inside_s.append(visit.inside_s)

    def group(self, key: str) -> VisitGroup:
        inside_s = np.array(self.inside_s)
        mean_s = p50_s = p95_s = max_s = None
        if len(inside_s):
            mean_s = round(float(inside_s.mean()), 3)
            p50_s, p95_s, max_s = np.round(np.percentile(inside_s, [50, 95, 100]), 3).tolist()
        return VisitGroup(
            key,
            self.name,
            self.visits,
            self.open,
            self.dwelled,
            len(self.devices),
            len(self.fences),
            round(float(inside_s.sum()), 3),
            mean_s,
            p50_s,
            p95_s,
            max_s,
        )


class VisitSummary:
    """Counts visits one by one; 8 bytes of memory for each, and some for each group.

    A visit belongs to the day, in the time zone, on which it began.
    """

    def __init__(self, group_by: GroupBy, zone: ZoneInfo) -> None:
        self._tallies: dict[str, _Tally] = {}
        self._total = _Tally()
        by: dict[GroupBy, Callable[[Visit], tuple[str, str]]] = {
            "fence": lambda visit: (visit.fence, visit.fence_name),
            "device": lambda visit: (visit.device, visit.device),
            "day": lambda visit: (_day(visit, zone), _day(visit, zone)),
        }
        self._by = by[group_by]

    def __len__(self) -> int:
        return self._total.visits

    def add(self, visit: Visit) -> None:
        """Count one visit."""
        key, name = self._by(visit)
        self._tallies.setdefault(key, _Tally()).add(visit, name)
        self._total.add(visit, "all")

    def groups(self) -> list[VisitGroup]:
        """By key."""
        return [self._tallies[key].group(key) for key in sorted(self._tallies)]

    def total(self) -> VisitGroup:
        """Of all of them together."""
        return self._total.group("all")


def _day(visit: Visit, zone: ZoneInfo) -> str:
    return visit.entered_at.astimezone(zone).date().isoformat()
