"""The forecasters on real recordings, by the protocol of `tests.eta_study`.

`python -m tests.benchmarks eta` gives the figures of docs/eta.md, also those of the buses, which
take too long for here.
"""

from pathlib import Path

import pytest

from tests.eta_study.recordings import WANTED, Files, chicago, porto
from tests.eta_study.score import Score


@pytest.fixture(scope="module")
def files(shared_data: Path) -> Files:
    files = Files.of(shared_data)
    if not (files.chicago.is_file() and files.porto.is_file()):
        pytest.skip(f"no recordings in {shared_data / 'data'}")
    return files


def hold(score: Score) -> None:
    """A forecast is so much nearer than the baseline, and its range holds four of five."""
    figures = score.figures()
    assert figures["samples"] > 1_000
    assert figures["ratio"] <= WANTED[score.name]
    assert 0.77 <= figures["coverage"] <= 0.84


def test_the_end_of_a_shuttles_known_path_is_forecast_better_than_by_constant_speed(
    files: Files,
) -> None:
    hold(chicago(files))


def test_a_taxis_arrival_is_forecast_better_than_by_detour_and_speed(files: Files) -> None:
    hold(porto(files))
