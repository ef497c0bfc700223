"""Capmetro: trained on some days, forecasting another, with its timetable and without."""

from collections.abc import Sequence

import numpy as np

from tests.eta_study.capmetro import Run
from tests.eta_study.score import Score
from tracking.eta.lane import LaneEta, Progress, Sample

_DAY_S = 86_400.0


def study(name: str, train: Sequence[list[Run]], test: list[Run], *, planned: bool) -> Score:
    """Calibrate on each training day as forecast from the others, then forecast the test day.

    The baseline is the plan's remainder from the nearest stop, or the training days' usual speed.
    """
    score, usual_mps = Score(name), _usual_mps(train)
    samples: list[Sample] = []
    left_s: list[float] = []
    for held_out, runs in enumerate(train):
        engine = LaneEta(planned=planned, usual_mps=usual_mps)
        for other, day in enumerate(train):
            for run in day if other != held_out else ():
                _learn(engine, run)
        for sample, left in _replay(engine, runs, None, usual_mps):
            samples.append(sample)
            left_s.append(left)
    engine = LaneEta(planned=planned, usual_mps=usual_mps)
    engine.calibrate(samples, np.array(left_s))
    for day in train:
        for run in day:
            with score.learning(len(run.t)):
                _learn(engine, run)
    list(_replay(engine, test, score, usual_mps))
    return score


def _replay(
    engine: LaneEta, runs: list[Run], score: Score | None, usual_mps: float
) -> list[tuple[Sample, float]]:
    """Forecast every sample in the order of time; a trip is learned from when it has ended."""
    planned = engine.planned
    moments = sorted(
        (float(run.t[fix]), number, fix, left_s)
        for number, run in enumerate(runs)
        for fix, left_s in run.samples(waiting=planned)
    )
    endings = sorted((float(run.t[-1]), number) for number, run in enumerate(runs))
    told: dict[int, list[tuple[Sample, float]]] = {}
    for now_s, number, fix, left_s in moments:
        while endings and endings[0][0] <= now_s:
            ended_s, ended = endings.pop(0)
            _learn(engine, runs[ended], today=True)
            if score is not None:
                of_trip = told.get(ended, [])
                actual_s = np.array([left for _, left in of_trip])
                engine.score([sample for sample, _ in of_trip], actual_s, ended_s)
        run = runs[number]
        lane, done = run.lane(planned=planned), run.done(fix, planned=planned)
        progress = Progress(done, now_s, now_s % _DAY_S)
        sample = engine.sample(lane, progress, run.target)
        told.setdefault(number, []).append((sample, left_s))
        if score is not None:
            with score.forecasting():
                arrival = engine.forecast(lane, progress, run.target)
            left_m = float(run.along_m[run.target] - run.at_m[fix])
            plain_s = run.nearest_stop_plan_s(fix) if planned else left_m / usual_mps
            score.add(left_s, plain_s, arrival)
    return [one for of_trip in told.values() for one in of_trip]


def _learn(engine: LaneEta, run: Run, *, today: bool = False) -> None:
    passed_s = run.passed(planned=engine.planned)
    lane = run.lane(planned=engine.planned)
    engine.learn(lane, passed_s, passed_s % _DAY_S, today=today)


def _usual_mps(days: Sequence[list[Run]]) -> float:
    """The constant speed whose mean absolute error on the training days is least.

    That is the median of seconds per metre, weighted by metres.
    """
    samples = np.array(
        [
            (float(run.along_m[run.target] - run.at_m[fix]), left_s)
            for day in days
            for run in day
            for fix, left_s in run.samples(waiting=False)
        ]
    )
    left_m, left_s = samples[samples[:, 0] > 0].T
    order = np.argsort(left_s / left_m)
    middle = int(np.searchsorted(left_m[order].cumsum(), left_m.sum() / 2))
    return float(left_m[order][middle] / left_s[order][middle])
