"""The calm machine on real recordings, by the protocol of `tests.calm_study`.

The streets are the borders: vehicles drive along them all day. `python -m tests.calm_study` gives
the figures of docs/geofences.md.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
from shapely.geometry.base import BaseGeometry

from geofence.calm import Calm
from geofence.shapes import Kind
from tests.calm_study.layers import LayerScore, calm_layer, layer_fixes, naive_layer
from tests.calm_study.machines import Fixes, Ground
from tests.calm_study.noise import noisy_cases
from tests.calm_study.recordings import Town, chicago, porto
from tests.calm_study.score import calm_score, naive_score, recorded_cases

pytestmark = pytest.mark.long

FREE = Calm.of(kind=Kind.POLYGON, inradius_m=100.0, layer=False)
LAYER = Calm.of(kind=Kind.POLYGON, inradius_m=100.0, layer=True)
DEPOT = Calm.of(kind=Kind.CIRCLE, inradius_m=100.0, layer=False)


@pytest.fixture(scope="module")
def towns(shared_data: Path) -> dict[str, Town]:
    if not (shared_data / "data" / "chicago_shuttle").is_dir():
        pytest.skip(f"no recordings in {shared_data / 'data'}")
    return {"chicago": chicago(shared_data), "porto": porto(shared_data)}


def zones_of(town: Town, kind: str) -> Sequence[BaseGeometry]:
    return town.blocks if kind == "blocks" else town.zones()


@pytest.mark.parametrize("kind", ["blocks", "zones"])
@pytest.mark.parametrize(("name", "fewer"), [("chicago", 0.90), ("porto", 0.83)])
def test_free_fences_between_streets_raise_few_false_transitions_and_lose_no_deep_visit(
    towns: dict[str, Town], name: str, fewer: float, kind: str
) -> None:
    ground = Ground(zones_of(towns[name], kind))
    cases = list(recorded_cases(towns[name].tracks, ground))
    naive, calm = naive_score(cases), calm_score(cases, ground, FREE)
    assert naive.false > 5_000
    assert calm.fewer(naive) >= fewer
    assert calm.deep > 50
    assert calm.deep_lost == 0


@pytest.mark.parametrize("kind", ["blocks", "zones"])
@pytest.mark.parametrize("name", ["chicago", "porto"])
def test_in_a_layer_devices_rarely_go_back_and_forth_and_are_never_deep_in_the_wrong_zone(
    towns: dict[str, Town], name: str, kind: str
) -> None:
    ground = Ground(zones_of(towns[name], kind))
    naive, calm = LayerScore(), LayerScore()
    for track in towns[name].tracks:
        fixes = Fixes.of(track)
        seen = list(layer_fixes(fixes, ground))
        naive_layer(naive, seen)
        calm_layer(calm, seen, ground, fixes.interval_s, LAYER)
    assert naive.returns > 1_000
    assert calm.returns <= 0.1 * naive.returns
    assert calm.wrong <= 0.001 * calm.fixes


@pytest.mark.parametrize("sigma_m", [5.0, 10.0])
@pytest.mark.parametrize("interval_s", [3.0, 15.0])
def test_noise_on_known_paths_raises_few_false_transitions_and_loses_few_deep_visits(
    towns: dict[str, Town], interval_s: float, sigma_m: float
) -> None:
    town = towns["chicago"]
    ground = Ground(town.zones())
    # All tracks at 15 s: of a sixth, with 300 deep visits, chance alone moves 3 % by 1 %.
    tracks = town.tracks[1::6] if interval_s < 15.0 else town.tracks
    cases = list(noisy_cases(tracks, ground, interval_s, sigma_m, seed=11))
    naive, calm = naive_score(cases), calm_score(cases, ground, FREE)
    assert naive.false > 1_000
    assert calm.fewer(naive) >= 0.85
    assert calm.deep > 300
    assert calm.deep_lost <= 0.03 * calm.deep


@pytest.mark.parametrize("sigma_m", [5.0, 10.0])
def test_depots_seen_every_15_s_lose_few_visits(towns: dict[str, Town], sigma_m: float) -> None:
    town = towns["chicago"]
    ground = Ground(town.depots(60, seed=11))
    cases = list(noisy_cases(town.tracks[1::6], ground, 15.0, sigma_m, seed=11))
    naive, calm = naive_score(cases), calm_score(cases, ground, DEPOT)
    assert calm.visits > 500
    assert calm.lost <= 0.05 * calm.visits
    assert calm.false < naive.false
