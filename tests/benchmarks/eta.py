"""How good forecasts of arrival are on real trips, beside what everybody can do: the baseline.

By the protocol of `tests.eta_study`, train and test split by time.
"""

from pathlib import Path

from tests.benchmarks.processes import ROOT
from tests.benchmarks.result import Goal, Result, Row
from tests.eta_study.recordings import WANTED, Files, austin, chicago, porto

_FORECAST_US, _LEARN_US = 300.0, 40.0
_COVERED = (0.77, 0.84)


def run(*, quick: bool) -> Result:
    """Every recording there is; `quick` leaves the buses out, which take twenty seconds."""
    result = Result("eta", "forecasts of arrival on real trips")
    files = Files.of((ROOT.parent / "shared").resolve())
    scores = []
    if _there(result, "porto", files.porto):
        scores += [porto(files), porto(files, whole=True)]
    if _there(result, "chicago", files.chicago):
        scores += [chicago(files), chicago(files, whole=True)]
    if not quick and _there(result, "capmetro", files.test_day):
        scores += austin(files)
    for score in scores:
        figures = score.figures()
        baseline = {"mae_s": figures.pop("baseline_mae_s")}
        result.rows.append(Row(score.name, "waymark", figures))
        result.rows.append(Row(f"{score.name}: baseline", "peer", baseline))
        lower, upper = _COVERED
        result.goals += [
            Goal(f"{score.name}, of baseline", figures["ratio"], WANTED[score.name], at_most=True),
            Goal(f"{score.name}, within p10-p90", figures["coverage"], lower),
            Goal(f"{score.name}, within p10-p90", figures["coverage"], upper, at_most=True),
            Goal(f"{score.name}, us", figures["forecast_us"], _FORECAST_US, at_most=True),
            Goal(
                f"{score.name}, learning, us/fix",
                figures["learn_us_per_fix"],
                _LEARN_US,
                at_most=True,
            ),
        ]
    return result


def _there(result: Result, name: str, file: Path) -> bool:
    result.conditions[name] = "measured" if file.is_file() else f"no recording at {file}"
    return file.is_file()
