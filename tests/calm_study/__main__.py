"""The tables of docs/geofences.md: `python -m tests.calm_study ../shared`."""

import argparse
import sys
from pathlib import Path

from geofence.calm import Calm, Profile
from tests.calm_study.layers import LayerScore, calm_layer, layer_fixes, naive_layer
from tests.calm_study.machines import Fixes, Ground, naive_turns
from tests.calm_study.noise import noisy_cases
from tests.calm_study.parked import NOISES, parked, stay
from tests.calm_study.recordings import Town, chicago, porto
from tests.calm_study.score import calm_score, naive_score, recorded_cases

ZONE, POI = Calm(Profile.ZONE), Calm(Profile.POI)


def main() -> None:
    """Run everything; about a minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=3, help="of the tracks with added noise")
    args = parser.parse_args()
    towns = {"chicago": chicago(args.shared), "porto": porto(args.shared)}
    for name, town in towns.items():
        _streets(name, town)
    _known_paths(towns["chicago"], args.seed, args.every)
    _parked(args.seed)


def _streets(name: str, town: Town) -> None:
    for kind, zones in (("blocks", town.blocks), ("500 m zones", town.zones())):
        ground = Ground(zones)
        cases = list(recorded_cases(town.tracks, ground))
        naive, calm = naive_score(cases), calm_score(cases, ground, ZONE)
        _say(
            f"{name} {kind}, free: {naive.found} -> {calm.found} transitions, "
            f"{naive.false} -> {calm.false} false (-{calm.fewer(naive):.1%}), lost "
            f"{calm.deep_lost} of {calm.deep} deep, "
            f"{calm.lost - calm.deep_lost} of {calm.visits - calm.deep} shallow visits"
        )
        plain, layer = LayerScore(), LayerScore()
        for track in town.tracks:
            fixes = Fixes.of(track)
            seen = list(layer_fixes(fixes, ground))
            naive_layer(plain, seen)
            calm_layer(layer, seen, ground, fixes.interval_s, ZONE)
        _say(
            f"{name} {kind}, layer: {plain.changes} -> {layer.changes} changes, "
            f"{plain.returns} -> {layer.returns} returns "
            f"(-{1 - layer.returns / plain.returns:.1%}), "
            f"{layer.wrong} of {layer.fixes} fixes 50 m deep in another zone"
        )


def _known_paths(town: Town, seed: int, every: int) -> None:
    tracks = town.tracks[1::every]
    for kind, zones, calm in (
        ("500 m zones", town.zones(), ZONE),
        ("depots", town.depots(100, seed), POI),
    ):
        ground = Ground(zones)
        for interval_s in (3.0, 15.0, 30.0, 60.0, 120.0):
            for sigma_m in (5.0, 10.0):
                cases = list(noisy_cases(tracks, ground, interval_s, sigma_m, seed))
                naive, found = naive_score(cases), calm_score(cases, ground, calm)
                _say(
                    f"{kind}, {interval_s:g} s, {sigma_m:g} m: {naive.false} -> {found.false} "
                    f"false (-{found.fewer(naive):.1%}), lost naive "
                    f"{naive.deep_lost / naive.deep:.1%}, calm {found.deep_lost / found.deep:.1%} "
                    f"of {found.deep} deep visits"
                )


def _parked(seed: int) -> None:
    for sigma_m in (10.0, 30.0):
        for noise in NOISES:
            fixes, depth_m, _ = parked(noise, sigma_m, seed)
            counts = [len(naive_turns(fixes.t, depth_m)) - 1]
            counts += [len(stay(fixes, depth_m, ZONE, 1_000.0)) - 1]
            counts += [len(stay(fixes, depth_m, POI, 100.0)) - 1]
            _say(f"parked, {sigma_m:g} m {noise}: naive {counts[0]}, zone, poi {counts[1:]}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


main()
