"""What answers about forecasts look like, for the OpenAPI document."""

from datetime import UTC, datetime

from api.schemas.accuracy import AccuracyReport
from tracking.eta.accuracy import LeftOut, Score

_NEAR = Score(
    key="5-10 min", forecasts=4_102, arrivals=1_197, mae_s=58.3, median_s=41.0, p90_s=131.0,
    bias_s=-6.1, mape=0.13, coverage=0.79, width_s=164.2, prior_mae_s=77.5, ratio=0.7523,
)  # fmt: skip
_FAR = Score(
    key="30-60 min", forecasts=9_316, arrivals=1_204, mae_s=203.9, median_s=148.0, p90_s=472.0,
    bias_s=-21.7, mape=0.08, coverage=0.81, width_s=588.4, prior_mae_s=249.3, ratio=0.8179,
)  # fmt: skip
_ALL = Score(
    key="all", forecasts=13_418, arrivals=1_240, mae_s=131.3, median_s=84.0, p90_s=318.0,
    bias_s=-13.9, mape=0.105, coverage=0.8, width_s=377.0, prior_mae_s=163.7, ratio=0.8021,
)  # fmt: skip
ACCURACY = AccuracyReport(
    [_NEAR, _FAR],
    None,
    by="horizon",
    start=datetime(2026, 3, 1, tzinfo=UTC),
    end=datetime(2026, 3, 8, tzinfo=UTC),
    groups=2,
    total=_ALL,
    left_out=LeftOut(not_reached=310, overridden=22, made_late=4, last_minute=1_016),
)
