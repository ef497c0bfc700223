"""Tracks against a layer: zones that share borders, and one machine for all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geofence.calm import OUTSIDE, Calm, Presence, Seen, observe
from tests.calm_study.machines import FAR_OUTSIDE_M, Fixes, Ground

RETURN_S = 600.0
WRONG_M = 50.0
_LAYER = -1


@dataclass(frozen=True, slots=True)
class LayerFix:
    """One fix: the depths of the zones near it, and the one it is in."""

    t: float
    accuracy_m: float
    zone: int
    depths_m: dict[int, float]


@dataclass(slots=True)
class LayerScore:
    """Sums over tracks."""

    fixes: int = 0
    changes: int = 0
    returns: int = 0  # from A to B and back to A within ten minutes
    wrong: int = 0  # fixes at least `WRONG_M` deep in another zone than the machine's

    def add(self, stays: Sequence[tuple[float, int]]) -> None:
        """Count the changes of one track: (from when, where)."""
        self.changes += len(stays) - 1
        for (_, a), (b_from, _), (b_until, c) in zip(stays, stays[1:], stays[2:], strict=False):
            self.returns += a == c and b_until - b_from <= RETURN_S


def layer_fixes(fixes: Fixes, ground: Ground) -> Iterator[LayerFix]:
    """Where each fix is; of overlapping zones, in the first."""
    near: list[dict[int, float]] = [{} for _ in fixes.t]
    for fix, zone, depth_m in zip(
        *map(np.ndarray.tolist, ground.near(fixes.x, fixes.y)), strict=True
    ):
        near[fix][zone + 1] = depth_m
    for t, accuracy_m, depths_m in zip(
        fixes.t.tolist(), fixes.accuracy_m.tolist(), near, strict=True
    ):
        inside = [zone for zone, depth_m in depths_m.items() if depth_m >= 0.0]
        yield LayerFix(t, accuracy_m, min(inside, default=OUTSIDE), depths_m)


def naive_layer(score: LayerScore, track: Sequence[LayerFix]) -> None:
    """Every fix in another zone is a change."""
    stays = [(track[0].t, track[0].zone)]
    stays += [(b.t, b.zone) for a, b in pairwise(track) if a.zone != b.zone]
    score.fixes += len(track)
    score.add(stays)


def calm_layer(
    score: LayerScore, track: Sequence[LayerFix], ground: Ground, interval_s: float, calm: Calm
) -> None:
    """The machine of a layer; it starts where the first fix is."""
    presence = Presence(_LAYER, track[0].zone)
    left = OUTSIDE
    stays = [(track[0].t, track[0].zone)]
    for fix in track:
        zone = presence.zone
        target = zone if fix.depths_m.get(zone, -1.0) >= 0.0 else fix.zone
        if zone == OUTSIDE:
            away_m = fix.depths_m.get(target or left, FAR_OUTSIDE_M)
        else:
            away_m = -fix.depths_m.get(zone, FAR_OUTSIDE_M)
        inradius_m = float(ground.inradius_m[target - 1]) if target else 0.0
        seen = Seen(
            round(fix.t * 1e6), 0.0, 0.0, fix.accuracy_m, interval_s, target, away_m, inradius_m
        )
        change = observe(presence, seen, calm)
        if change is not None:
            left = change.left
            stays.append((change.time_us / 1e6, change.entered))
        deepest_m = max((d for z, d in fix.depths_m.items() if z != presence.zone), default=0.0)
        own_m = fix.depths_m.get(presence.zone, -1.0)
        score.wrong += own_m < 0.0 and deepest_m >= WRONG_M
    score.fixes += len(track)
    score.add(stays)
