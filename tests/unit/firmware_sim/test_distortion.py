"""Data faults: each changes which readings there are, as its option says."""

from dataclasses import replace
from itertools import groupby
from math import cos, hypot, radians
from statistics import fmean, pstdev

import pytest

from firmware_sim import Faults, Options, Reading, plan

SECONDS = 300
DAY_MS = 86_400_000


def said(*, clean: bool = False, **faults: object) -> list[Reading]:
    """Every reading of ten vehicles."""
    options = Options(
        devices=10,
        readers=0,
        sensors=0,
        duration_s=SECONDS,
        faults=replace(Faults(), **faults),  # type: ignore[arg-type]
        clean=clean,
    )
    return [r for device in plan(options).devices.values() for r in device.readings]


def off_m(reading: Reading, true: Reading) -> tuple[float, float]:
    lat = radians(true.body["lat"])
    return (
        (reading.body["lon"] - true.body["lon"]) * 111_195 * cos(lat),
        (reading.body["lat"] - true.body["lat"]) * 111_195,
    )


TRUE = said()


def test_jitter_has_the_sigma_asked_for_and_the_accuracy_admits_it() -> None:
    noisy = said(jitter_m=8)
    offs = [axis for a, b in zip(noisy, TRUE, strict=True) for axis in off_m(a, b)]
    assert fmean(offs) == pytest.approx(0, abs=0.5)
    assert pstdev(offs) == pytest.approx(8, rel=0.05)
    assert {reading.body["accuracy_m"] for reading in noisy} == {12.0}


def test_single_jumps_are_far_and_rare_and_the_next_fix_is_right_again() -> None:
    offs = [(r, hypot(*off_m(r, t))) for r, t in zip(said(jumps=0.05), TRUE, strict=True)]
    jumps = [(r, off) for r, off in offs if "jump" in r.faults]
    assert len(jumps) / len(offs) == pytest.approx(0.05, rel=0.25)
    assert min(off for _, off in jumps) > 390
    assert max(off for _, off in jumps) < 8_100
    assert all(off < 0.1 for r, off in offs if "jump" not in r.faults)
    admitted = fmean(r.body["accuracy_m"] > 100 for r, _ in jumps)
    assert 0.3 < admitted < 0.7


def test_runs_of_jumps_stay_at_one_offset_for_several_fixes() -> None:
    readings = said(jump_runs=0.1)
    runs = [
        list(pairs)
        for jumped, pairs in groupby(
            zip(readings, TRUE, strict=True), lambda pair: "jump" in pair[0].faults
        )
        if jumped
    ]
    assert sum(map(len, runs)) / len(readings) == pytest.approx(0.1, rel=0.25)
    assert fmean(len(run) for run in runs) > 3
    # Two runs may touch; within one the offset is constant.
    for run in runs:
        offsets = {tuple(round(axis, -1) for axis in off_m(r, t)) for r, t in run}
        assert len(offsets) <= 1 + len(run) // 3


def test_a_tunnel_has_no_fix_and_takes_no_seq() -> None:
    readings = said(tunnels=0.2, tunnel_s=20)
    assert len(readings) / len(TRUE) == pytest.approx(0.8, abs=0.06)
    for _, track in groupby(readings, lambda reading: reading.device):
        fixes = list(track)
        assert [fix.seq for fix in fixes] == list(range(len(fixes)))


def test_loss_leaves_a_gap_in_seq() -> None:
    options = Options(devices=4, duration_s=SECONDS, faults=Faults(loss=0.1))
    for device in plan(options).devices.values():
        if device.device.channel == "pos":
            arrived = [delivery.reading.seq for delivery in device.deliveries]
            assert arrived == sorted(set(arrived))
            assert len(arrived) / SECONDS == pytest.approx(0.9, abs=0.05)
            assert [r.seq for r in device.readings] == list(range(SECONDS))


def test_skew_is_constant_per_device_and_differs_between_them() -> None:
    readings = said(clock_skew_s=30)
    skews: dict[str, set[int]] = {}
    for reading, true in zip(readings, TRUE, strict=True):
        skews.setdefault(reading.device, set()).add(reading.t_ms - true.t_ms)
    assert all(len(skew) == 1 for skew in skews.values())
    values = [skew.pop() for skew in skews.values()]
    assert len(set(values)) == len(values)
    assert max(map(abs, values)) < 150_000


def test_clock_jumps_go_days_ahead_or_to_1970_and_come_back() -> None:
    readings = said(clock_jumps=0.2, clock_jump_s=10)
    future = [(r, t) for r, t in zip(readings, TRUE, strict=True) if "clock_future" in r.faults]
    past = [r for r in readings if "clock_1970" in r.faults]
    assert future
    assert past
    assert (len(future) + len(past)) / len(readings) == pytest.approx(0.2, rel=0.3)
    assert all((r.t_ms - t.t_ms) % DAY_MS == 0 and r.t_ms > t.t_ms for r, t in future)
    assert all(0 <= reading.t_ms < DAY_MS for reading in past)
    right = [(r, t) for r, t in zip(readings, TRUE, strict=True) if not r.faults]
    assert all(r.t_ms == t.t_ms for r, t in right)


def test_a_clean_run_keeps_data_faults() -> None:
    clean = said(clean=True, jitter_m=5, jumps=0.05, clock_skew_s=3, loss=0.05)
    delayed = said(duplicates=0.5, reorder=0.5, jitter_m=5, jumps=0.05, clock_skew_s=3, loss=0.05)
    assert clean == delayed
    assert clean != TRUE
