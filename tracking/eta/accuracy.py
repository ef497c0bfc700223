"""How right forecasts were, once it is known when each stop was reached. Pure.

Every shipment, stop and horizon counts once, however many forecasts were made of it: its forecasts
share that weight equally. So a shipment that was looked at every ten seconds rules nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

import msgspec

GroupBy = Literal["horizon", "lane", "hour", "path", "model", "legs"]
# Why a forecast is not scored.
Unscored = Literal["not_reached", "overridden", "made_late", "last_minute"]

# How far ahead a forecast looked, in seconds to the arrival; nobody needs the last minute.
HORIZONS_S = (60.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0)
_HORIZON_NAMES = ("1-5 min", "5-10 min", "10-20 min", "20-30 min", "30-60 min", "60-120 min")
HORIZON_NAMES = (*_HORIZON_NAMES, "over 120 min")
# Shorter ones make any error look enormous.
RELATIVE_FROM_S = 120.0
# Samples are sorted by their error into bins of a second, then of two parts in a hundred, up to
# eleven days: so exact are medians. Means are exact.
LIMITS_S = (
    *(float(second) for second in range(1, 60)),
    *accumulate(range(490), lambda limit_s, _: limit_s * 1.02, initial=60.0),
)


class Bin(NamedTuple):
    """The forecasts of one group whose errors are about the same; sums are weighted.

    Errors are forecast minus arrival: above zero, the shipment came earlier than was said.

    Attributes:
        key: of the group; None where forecasts are not scored, which `unscored` explains.
        number: of the bin, from 0: below `LIMITS_S[number]`.
        arrivals: how many were forecast, in parts that add up to whole ones over the group's bins;
            `all_arrivals` the same over all groups' bins.
        relative: sum of errors as parts of the time left, `relative_weight` the weight of these.
    """

    unscored: Unscored | None
    key: str | None
    number: int | None
    forecasts: int
    arrivals: float
    all_arrivals: float
    weight: float
    error_s: float
    abs_error_s: float
    inside: float
    width_s: float
    prior_abs_error_s: float
    relative: float
    relative_weight: float


class Score(msgspec.Struct, frozen=True):
    """How right the forecasts of one group were; null where there was nothing to measure.

    Attributes:
        mae_s, median_s, p90_s: of how far the forecast was from the arrival.
        bias_s: forecast minus arrival: above zero, shipments came earlier than was said.
        mape: mean error as a part of the time that was left, over horizons of more than 120 s.
        coverage: the part that arrived between p10 and p90, which are `width_s` apart on average.
        prior_mae_s: what the plan or plain distance alone was wrong by, on the same forecasts.
        ratio: `mae_s` over `prior_mae_s`: what was learned helps where it is below one.
    """

    key: str
    forecasts: int
    arrivals: int
    mae_s: float | None = None
    median_s: float | None = None
    p90_s: float | None = None
    bias_s: float | None = None
    mape: float | None = None
    coverage: float | None = None
    width_s: float | None = None
    prior_mae_s: float | None = None
    ratio: float | None = None


class LeftOut(msgspec.Struct, frozen=True):
    """Forecasts that are not scored.

    Of stops not reached (yet), whose arrival somebody said, made when the stop had been reached,
    and in the last minute before it was.
    """

    not_reached: int = 0
    overridden: int = 0
    made_late: int = 0
    last_minute: int = 0


class Accuracy(NamedTuple):
    """Scores by group, of all forecasts together, and what was left out."""

    groups: list[Score]
    total: Score
    left_out: LeftOut


def judged(by: GroupBy, bins: Iterable[Bin]) -> Accuracy:
    """What bins come to: horizons, hours and legs in order, of others the most frequent first."""
    groups: dict[str, list[Bin]] = defaultdict(list)
    left_out: dict[str, int] = {}
    for one in bins:
        if one.unscored is not None:
            left_out[one.unscored] = one.forecasts
        elif one.key is not None:
            groups[one.key].append(one)
    total = _score("all", _merged(groups.values()))
    scores = [_score(key, some) for key, some in groups.items()]
    return Accuracy(sorted(scores, key=lambda s: _place(by, s)), total, LeftOut(**left_out))


def _place(by: GroupBy, score: Score) -> tuple[float, str]:
    if by == "horizon":
        return HORIZON_NAMES.index(score.key), ""
    if by in {"hour", "legs"}:
        return int(score.key), ""
    return -score.arrivals, score.key


def _merged(groups: Iterable[Sequence[Bin]]) -> list[Bin]:
    """The bins of all groups as those of one."""
    by_number: dict[int | None, list[Bin]] = defaultdict(list)
    for bins in groups:
        for one in bins:
            by_number[one.number].append(one)
    return [_sum(bins)._replace(number=number) for number, bins in by_number.items()]


def _sum(bins: Sequence[Bin]) -> Bin:
    """Of any bins; as if the groups they are of were one."""
    totals = [sum(column) for column in zip(*(one[3:] for one in bins), strict=True)]
    forecasts, _, all_arrivals, *sums = totals or [0] * len(Bin._fields[3:])
    return Bin(None, None, None, int(forecasts), all_arrivals, all_arrivals, *sums)


def _score(key: str, bins: Sequence[Bin]) -> Score:
    all_ = _sum(bins)
    arrivals = round(sum(one.arrivals for one in bins))
    if not all_.weight:
        return Score(key, all_.forecasts, arrivals)
    mae_s, prior_s = all_.abs_error_s / all_.weight, all_.prior_abs_error_s / all_.weight
    return Score(
        key,
        all_.forecasts,
        arrivals,
        mae_s=_seconds(mae_s),
        median_s=_seconds(_quantile(bins, 0.5)),
        p90_s=_seconds(_quantile(bins, 0.9)),
        bias_s=_seconds(all_.error_s / all_.weight),
        mape=_part(all_.relative / all_.relative_weight) if all_.relative_weight else None,
        coverage=_part(all_.inside / all_.weight),
        width_s=_seconds(all_.width_s / all_.weight),
        prior_mae_s=_seconds(prior_s),
        ratio=_part(mae_s / prior_s) if prior_s else None,
    )


def _quantile(bins: Sequence[Bin], part: float) -> float:
    """The smallest error that `part` of the weight does not exceed, to its bin's mean."""
    ordered = sorted(bins, key=lambda one: one.number or 0)
    wanted = part * sum(one.weight for one in ordered)
    below = accumulate(one.weight for one in ordered)
    # Sums of parts may miss the whole by a rounding error.
    reached = (one for one, weight in zip(ordered, below, strict=True) if weight >= wanted - 1e-9)
    found = next(reached, ordered[-1])
    return found.abs_error_s / found.weight


def _seconds(value: float) -> float:
    return round(value, 1)


def _part(value: float) -> float:
    return round(value, 4)
