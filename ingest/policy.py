"""What the pipeline is told: thresholds, and whether its messages are life or history."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from ingest.sift import Limits
from tracking.fold.model import Rules
from tracking.settings import Settings

# Longer than the clocks of devices reach, and safe to subtract.
_NO_HORIZON_US = 2**62


class Backfilling(NamedTuple):
    """What is stored is history: nobody was heard, nothing is too old, rules may stay out of it."""

    quiet: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """What the pipeline takes from the settings, and what its messages are: live, or history."""

    limits: Limits
    rules: Rules
    late_horizon_us: int
    backfilling: Backfilling | None = None


def policy(settings: Settings) -> Policy:
    """The pipeline's thresholds."""
    return Policy(
        limits=Limits(
            max_future_us=int(settings.max_future_s * 1e6),
            max_accuracy_m=settings.max_accuracy_m,
        ),
        rules=Rules(max_speed_mps=settings.max_speed_mps),
        late_horizon_us=int(settings.late_horizon_h * 3_600e6),
    )


def backfill_policy(settings: Settings, backfilling: Backfilling) -> Policy:
    """The same for what a backfill brings, which is never too old."""
    return replace(policy(settings), late_horizon_us=_NO_HORIZON_US, backfilling=backfilling)
