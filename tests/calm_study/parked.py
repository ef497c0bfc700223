"""A vehicle parked on a border for a week, which then leaves."""

from collections.abc import Callable

import numpy as np

from geofence.calm import Calm
from tests.calm_study.machines import Fixes, Turn, calm_turns
from tests.calm_study.noise import accuracies, drift
from tests.calm_study.recordings import Floats

INTERVAL_S = 30.0
_WEEK_S = 7 * 86_400.0
_SLOW_S = 300.0
_LEAVING_MPS = 8.0

NOISES: dict[str, Callable[[np.random.Generator, Floats, float], Floats]] = {
    "white": lambda rng, t, sigma_m: rng.normal(0.0, sigma_m, len(t)),
    "half-correlated": lambda rng, t, sigma_m: (
        rng.normal(0.0, sigma_m * np.sqrt(0.5), len(t))
        + drift(rng, t, sigma_m * np.sqrt(0.5), _SLOW_S)
    ),
    "slow": lambda rng, t, sigma_m: drift(rng, t, sigma_m, _SLOW_S),
}


def parked(noise: str, sigma_m: float, seed: int) -> tuple[Fixes, Floats, float]:
    """The fixes, their depths, and when the vehicle left."""
    rng = np.random.default_rng(seed)
    t = 1.7e9 + np.arange(0.0, _WEEK_S + 600.0, INTERVAL_S)
    left_at = 1.7e9 + _WEEK_S
    truth = np.where(t > left_at, -_LEAVING_MPS * (t - left_at), 0.0)
    depth_m = truth + NOISES[noise](rng, t, sigma_m)
    accuracy_m = accuracies(rng, len(t), sigma_m)
    zeros = np.zeros(len(t))
    return Fixes(t, zeros, zeros, accuracy_m, INTERVAL_S), depth_m, left_at


def stay(fixes: Fixes, depth_m: Floats, calm: Calm, inradius_m: float) -> list[Turn]:
    """The machine's turns, which starts inside."""
    inside_first = np.r_[1.0, depth_m[1:]]
    return calm_turns(fixes, 1, inside_first, inradius_m, calm)
