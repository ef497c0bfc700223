"""Visits found against visits that were."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import NamedTuple

import numpy as np

from geofence.calm import Calm
from geofence.shapes import Kind
from tests.calm_study.machines import (
    FAR_OUTSIDE_M,
    Fixes,
    Ground,
    Ints,
    Run,
    Turn,
    calm_turns,
    naive_turns,
    true_runs,
)
from tests.calm_study.recordings import Floats, Track

DEEP_M = 50.0


class Case(NamedTuple):
    """One track and one zone it came into."""

    zone: int
    fixes: Fixes
    depth_m: Floats
    truth: list[Run]


@dataclass(slots=True)
class Score:
    """Sums over cases. A transition is false unless a true one needs it."""

    found: int = 0
    needed: int = 0
    false: int = 0
    visits: int = 0
    lost: int = 0
    deep: int = 0
    deep_lost: int = 0

    def fewer(self, naive: "Score") -> float:
        """The share of false transitions that is gone."""
        return 1.0 - self.false / naive.false

    def add(self, turns: Sequence[Turn], case: Case) -> None:
        """Count one case; the first turn is where the device started, no transition."""
        unused = list(turns[1:])
        self.found += len(unused)
        for before, run in pairwise(case.truth):
            fits = [turn for turn in unused if turn.inside == run.inside]
            fits = [turn for turn in fits if before.start <= turn.t < run.end]
            if fits:
                unused.remove(fits[0])
            self.needed += 1
        self.false += len(unused)
        ends = [turn.t for turn in turns[1:]] + [inf]
        stays = [(turn.t, end) for turn, end in zip(turns, ends, strict=True) if turn.inside]
        for run in case.truth:
            # What sampling left no fix of no machine can find.
            if run.inside and ((case.fixes.t >= run.start) & (case.fixes.t < run.end)).any():
                lost = not any(start < run.end and end > run.start for start, end in stays)
                self.visits += 1
                self.lost += lost
                self.deep += run.side_m >= DEEP_M
                self.deep_lost += lost and run.side_m >= DEEP_M


def recorded_cases(tracks: Sequence[Track], ground: Ground) -> Iterator[Case]:
    """Tracks as they are, their own truth."""
    for track in tracks:
        fixes = Fixes.of(track)
        for zone, rows, depth_m in meetings(fixes, ground):
            near = fixes.at(rows)
            if depth_m.max() >= 0.0:
                yield Case(zone, near, depth_m, true_runs(near.t, depth_m))


def meetings(fixes: Fixes, ground: Ground) -> Iterator[tuple[int, Ints, Floats]]:
    """(zone, rows, depths) of each zone near the fixes, with one far fix around each approach."""
    fix, zone, depth_m = ground.near(fixes.x, fixes.y)
    cuts = np.flatnonzero(np.diff(zone)) + 1
    n = len(fixes.t)
    for rows, zones, depths in zip(
        np.split(fix, cuts), np.split(zone, cuts), np.split(depth_m, cuts), strict=True
    ):
        if not len(rows):
            continue
        full = np.full(n, FAR_OUTSIDE_M)
        full[rows] = depths
        wanted = np.zeros(n, bool)
        wanted[rows] = wanted[np.minimum(rows + 1, n - 1)] = wanted[np.maximum(rows - 1, 0)] = True
        kept: Ints = np.flatnonzero(wanted).astype(np.int64)
        yield int(zones[0]), kept, full[kept]


def naive_score(cases: Iterable[Case]) -> Score:
    """Without any calm."""
    score = Score()
    for case in cases:
        score.add(naive_turns(case.fixes.t, case.depth_m), case)
    return score


def calm_score(cases: Iterable[Case], ground: Ground, calm: Calm | None = None) -> Score:
    """`calm` for all fences; None: as each fence chooses."""
    score = Score()
    for case in cases:
        inradius_m = float(ground.inradius_m[case.zone])
        chosen = (
            Calm.of(kind=Kind.POLYGON, inradius_m=inradius_m, layer=False) if calm is None else calm
        )
        score.add(calm_turns(case.fixes, case.zone + 1, case.depth_m, inradius_m, chosen), case)
    return score
