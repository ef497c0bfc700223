"""What a forecaster came to on one recording."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracking.eta.lane import Arrival

Floats = NDArray[np.float64]


@dataclass(slots=True)
class Score:
    """Forecasts beside the truth and the baseline's, and what they cost."""

    name: str
    rows: list[tuple[float, float, float, float, float]] = field(default_factory=list)
    forecasts_s: list[float] = field(default_factory=list)
    learning_s: float = 0.0
    learned_fixes: int = 0

    def add(self, left_s: float, baseline_s: float, arrival: Arrival) -> None:
        """Take up one forecast."""
        self.rows.append((left_s, baseline_s, arrival.p10_s, arrival.p50_s, arrival.p90_s))

    @contextmanager
    def forecasting(self) -> Iterator[None]:
        """Time one forecast."""
        started_s = time.perf_counter()
        yield
        self.forecasts_s.append(time.perf_counter() - started_s)

    @contextmanager
    def learning(self, fixes: int) -> Iterator[None]:
        """Time what a trip of so many fixes costs to learn."""
        started_s = time.perf_counter()
        yield
        self.learning_s += time.perf_counter() - started_s
        self.learned_fixes += fixes

    def figures(self) -> dict[str, float]:
        """The figures of a benchmark's row."""
        left, baseline, low, middle, high = np.array(self.rows).T
        error, of_baseline = np.abs(middle - left), np.abs(baseline - left)
        return {
            "samples": len(left),
            "baseline_mae_s": float(of_baseline.mean()),
            "mae_s": float(error.mean()),
            "ratio": float(error.mean() / of_baseline.mean()),
            "median_s": float(np.median(error)),
            "bias_s": float((middle - left).mean()),
            "coverage": float(((low <= left) & (left <= high)).mean()),
            "width_s": float((high - low).mean()),
            "forecast_us": 1e6 * float(np.median(self.forecasts_s)),
            "learn_us_per_fix": 1e6 * self.learning_s / max(self.learned_fixes, 1),
        }
