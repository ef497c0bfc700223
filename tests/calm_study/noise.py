"""What receivers add to the truth: slow drift, white noise, and a few bad fixes."""

from collections.abc import Iterator, Sequence

import numpy as np

from tests.calm_study.machines import Fixes, Ground, true_runs, usual_s
from tests.calm_study.recordings import Floats, Track
from tests.calm_study.score import Case, meetings

# A receiver reports about this many of the standard deviations it has per axis, and not exactly.
_REPORTED = 1.5
_REPORTED_SPREAD = 0.3
_BAD_SHARE = 0.02
_BAD_TIMES = 5.0
_DRIFT_S = 60.0


def drift(rng: np.random.Generator, t: Floats, sigma_m: float, memory_s: float) -> Floats:
    """An AR(1) series at times `t` that forgets over `memory_s`."""
    white = rng.normal(0.0, sigma_m, len(t))
    kept = np.exp(-np.diff(t, prepend=t[0]) / memory_s)
    fresh = np.sqrt(1.0 - kept * kept)
    result = np.empty(len(t))
    value = result[0] = white[0]
    for i in range(1, len(t)):
        value = result[i] = kept[i] * value + fresh[i] * white[i]
    return result


def accuracies(rng: np.random.Generator, n: int, sigma_m: float) -> Floats:
    """What the receiver says of itself."""
    result: Floats = _REPORTED * sigma_m * rng.lognormal(0.0, _REPORTED_SPREAD, n)
    return result


def noisy(track: Track, interval_s: float, sigma_m: float, rng: np.random.Generator) -> Fixes:
    """The track as a device that reports every `interval_s` with that noise would have it."""
    steps = np.floor((track.t - track.t[0] + rng.uniform(0.0, interval_s)) / interval_s)
    rows = np.flatnonzero(np.diff(steps, prepend=steps[0] - 1.0) > 0)
    t, n = track.t[rows], len(rows)
    part_m = sigma_m * np.sqrt(0.5)
    bad = np.where(rng.random(n) < _BAD_SHARE, _BAD_TIMES, 1.0)
    axes = [bad * (drift(rng, t, part_m, _DRIFT_S) + rng.normal(0.0, part_m, n)) for _ in range(2)]
    accuracy_m = accuracies(rng, n, sigma_m)
    return Fixes(t, track.x[rows] + axes[0], track.y[rows] + axes[1], accuracy_m, usual_s(t))


def noisy_cases(
    tracks: Sequence[Track], ground: Ground, interval_s: float, sigma_m: float, seed: int
) -> Iterator[Case]:
    """Tracks with noise, and as truth the same tracks without."""
    rng = np.random.default_rng(seed)
    for track in tracks:
        clean = Fixes.of(track)
        truth = {}
        for zone, rows, depth_m in meetings(clean, ground):
            if depth_m.max() >= 0.0:
                truth[zone] = true_runs(track.t[rows], depth_m)
        fixes = noisy(track, interval_s, sigma_m, rng)
        depths = {zone: (rows, depth_m) for zone, rows, depth_m in meetings(fixes, ground)}
        for zone in sorted(truth.keys() | depths.keys()):
            if zone not in depths:
                continue
            rows, depth_m = depths[zone]
            if zone in truth or depth_m.max() >= 0.0:
                yield Case(zone, fixes.at(rows), depth_m, truth.get(zone, []))
