from itertools import groupby, pairwise
from statistics import fmean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.noise import Noise, Windows


def test_draws_are_uniform_and_do_not_depend_on_the_order_of_asking() -> None:
    noise = Noise(7, "x")
    draws = [noise.unit(n) for n in range(20_000)]
    assert fmean(draws) == pytest.approx(0.5, abs=0.01)
    assert min(draws) >= 0
    assert max(draws) < 1
    assert [noise.unit(n) for n in (500, 3)] == [draws[500], draws[3]]


def test_streams_of_other_names_and_seeds_are_unrelated() -> None:
    streams = [Noise(1, "a"), Noise(1, "b"), Noise(2, "a"), Noise(1, "a", 1)]
    assert len({noise.bits(0) for noise in streams}) == len(streams)


def test_normals_are_normal() -> None:
    noise = Noise(3, "g")
    draws = [value for n in range(10_000) for value in noise.gauss_pair(n)]
    assert fmean(draws) == pytest.approx(0, abs=0.03)
    assert pstdev(draws) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
def test_windows_cover_their_share_of_time_and_last_as_long_as_said(share: float) -> None:
    windows = Windows(Noise(5, share.hex()), share, 10.0)
    covered = [windows.at(ms) for ms in range(0, 8_000_000, 1000)]
    assert fmean(window is not None for window in covered) == pytest.approx(share, rel=0.15)
    lengths = {w.number: (w.end_ms - w.start_ms) / 1000 for w in covered if w}
    assert min(lengths.values()) >= 5
    assert max(lengths.values()) <= 15
    assert fmean(lengths.values()) == pytest.approx(10, rel=0.2)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.floats(0.01, 0.5), st.floats(0.5, 100))
def test_a_window_is_one_unbroken_span(seed: int, share: float, mean_s: float) -> None:
    windows = Windows(Noise(seed), share, mean_s)
    step_ms = max(1, int(mean_s * 50))
    seen = [windows.at(n * step_ms) for n in range(400)]
    runs = [key for key, _ in groupby(seen) if key is not None]
    assert len(runs) == len({window.number for window in runs})


def test_no_share_is_no_window() -> None:
    windows = Windows(Noise(1), 0.0, 10.0)
    assert all(windows.at(ms) is None for ms in range(0, 100_000, 1000))


def test_windows_begin_at_no_fixed_beat() -> None:
    windows = Windows(Noise(2), 0.2, 10.0)
    spans = {w for ms in range(0, 2_000_000, 500) if (w := windows.at(ms))}
    starts = sorted(span.start_ms for span in spans)
    gaps = [b - a for a, b in pairwise(starts)]
    assert min(gaps) < 35_000
    assert max(gaps) > 65_000
