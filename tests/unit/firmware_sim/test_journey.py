import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from math import cos, hypot, radians
from pathlib import Path
from typing import Any

import pytest

from firmware_sim import Faults, OptionError, Options, Simulation
from firmware_sim.fleet import Observed
from firmware_sim.itinerary import read_itineraries
from firmware_sim.journey import Happened, Journey

README = Path(__file__).parents[3] / "firmware-sim" / "README.md"
HERE = [5.0, 52.0]
M_PER_DEG_LON = 111_195 * cos(radians(52.0))
OPTIONS = Options(interval_s=5.0)


def east(m: float, north_m: float = 0.0) -> list[float]:
    """So far from where vehicles start."""
    return [HERE[0] + m / M_PER_DEG_LON, HERE[1] + north_m / 111_195]


def file(*acts: dict[str, Any], **members: object) -> str:
    lorry = {"vehicle": "lorry", "device": "gps-1", "at": HERE, "acts": acts, **members}
    return json.dumps({"vehicles": [lorry]})


def journey(*acts: dict[str, Any], options: Options = OPTIONS) -> Journey:
    return Journey(read_itineraries(file(*acts)), options)


def observed(scene: Journey) -> dict[str, list[Observed]]:
    """What each device observes in the whole journey."""
    end_ms = round(scene.duration_s * 1000) + 1
    return {scene.devices[number].name: seen for number, seen in scene.observe(end_ms)}


def happened(scene: Journey, act: str) -> Happened:
    [found] = [one for one in scene.happened if one.act == act]
    return found


def metres(seen: Observed) -> tuple[float, float]:
    """East and north of where vehicles start."""
    east_m = (seen.body["lon"] - HERE[0]) * M_PER_DEG_LON
    return east_m, (seen.body["lat"] - HERE[1]) * 111_195


def test_a_drive_keeps_its_speed_and_ends_where_it_should() -> None:
    scene = journey({"stay_s": 60}, {"drive": [east(10_000)], "kmh": 90}, {"stay_s": 60})
    fixes = observed(scene)["gps-1"]
    drive = happened(scene, "drive")
    assert drive.from_ms == 60_000
    # 400 s at 25 m/s; it has to get going, and to brake.
    assert 410 < (drive.to_ms - drive.from_ms) / 1000 < 430
    speeds = [fix.body["speed_mps"] for fix in fixes]
    assert speeds[0] == speeds[-1] == 0.0
    assert max(speeds) == 25.0
    assert metres(fixes[-1]) == pytest.approx((10_000, 0), abs=0.1)
    assert [b.at_ms - a.at_ms for a, b in pairwise(fixes)] == [5_000] * (len(fixes) - 1)


def test_a_jam_takes_the_time_its_mean_speed_says_and_stands_at_times() -> None:
    jam = {"from_m": 1_000, "to_m": 5_000, "kmh": 8}
    scene = journey({"drive": [east(6_000)], "kmh": 80, "jams": [jam]})
    stuck = happened(scene, "jam")
    took_s = (stuck.to_ms - stuck.from_ms) / 1000
    assert took_s == pytest.approx(4_000 / (8 / 3.6), rel=0.25)
    inside = [f for f in observed(scene)["gps-1"] if stuck.from_ms <= f.at_ms < stuck.to_ms]
    standing = [fix for fix in inside if fix.body["speed_mps"] == 0.0]
    assert 0.2 < len(standing) / len(inside) < 0.6


def test_nothing_is_heard_from_a_tunnel() -> None:
    tunnel = {"from_m": 2_000, "to_m": 4_000}
    scene = journey({"drive": [east(6_000)], "kmh": 72, "tunnels": [tunnel]})
    places = [metres(fix)[0] for fix in observed(scene)["gps-1"]]
    hole = max(pairwise(places), key=lambda pair: pair[1] - pair[0])
    assert 1_900 <= hole[0] < 2_000 + 20
    assert 4_000 <= hole[1] < 4_120


def test_a_wrong_turn_leaves_the_line_and_comes_back_to_it() -> None:
    turn = {"at_m": 2_000, "by": [east(2_100, 800)], "back_m": 2_200}
    jam = {"from_m": 3_000, "to_m": 3_500, "kmh": 5}
    drive = {"drive": [east(6_000)], "kmh": 60, "wrong_turns": [turn], "jams": [jam]}
    scene = journey(drive)
    wrong = happened(scene, "wrong_turn")
    fixes = observed(scene)["gps-1"]
    off = [fix for fix in fixes if metres(fix)[1] > 1.0]
    assert max(metres(fix)[1] for fix in off) > 700
    assert wrong.from_ms <= off[0].at_ms
    assert off[-1].at_ms <= wrong.to_ms
    # What lies behind it is where the plan says, however much was driven.
    stuck = happened(scene, "jam")
    first = next(fix for fix in fixes if fix.at_ms >= stuck.from_ms)
    assert metres(first)[0] == pytest.approx(3_000, abs=90)


def test_a_wrong_turn_may_lead_back_to_where_it_began() -> None:
    turn = {"at_m": 2_000, "by": [east(2_000, 500)]}
    scene = journey({"drive": [east(4_000)], "kmh": 60, "wrong_turns": [turn]})
    wrong = happened(scene, "wrong_turn")
    assert 1_000 / (60 / 3.6) < (wrong.to_ms - wrong.from_ms) / 1000 < 120
    assert metres(observed(scene)["gps-1"][-1])[0] == pytest.approx(4_000, abs=60)


def test_a_broken_tracker_is_silent_until_another_speaks() -> None:
    drive = {"drive": [east(4_000)], "kmh": 72, "breaks_at_m": 2_000}
    acts = (drive, {"stay_s": 100}, {"device": "gps-2"}, {"stay_s": 50})
    scene = journey(*acts)
    broken, swap = happened(scene, "broken"), happened(scene, "swap")
    assert hypot((broken.lon - HERE[0]) * M_PER_DEG_LON) == pytest.approx(2_000, abs=25)
    assert (broken.device, swap.device, broken.to_ms) == ("gps-1", "gps-2", swap.from_ms)
    heard = observed(scene)
    assert broken.from_ms - 5_000 <= heard["gps-1"][-1].at_ms < broken.from_ms
    assert swap.from_ms <= heard["gps-2"][0].at_ms < swap.from_ms + 5_000


def test_the_same_seed_says_the_same_in_any_slices_and_under_delivery_faults() -> None:
    acts = ({"drive": [east(3_000)], "kmh": 50, "jams": [{"from_m": 1, "to_m": 2_000, "kmh": 9}]},)

    def said(faults: Faults) -> set[bytes]:
        scene = journey(*acts)
        options = replace(
            OPTIONS, devices=1, readers=0, sensors=0, duration_s=scene.duration_s,
            faults=faults,
        )  # fmt: skip
        slices = Simulation(options, scene).slices()
        return {d.reading.payload for piece in slices for d in piece.deliveries}

    late = Faults(jitter_m=6.0, reorder=1.0, reorder_window_s=9_000, duplicates=0.3)
    assert said(late) == said(Faults(jitter_m=6.0))
    assert len(said(late)) == len(observed(journey(*acts))["gps-1"])


def test_what_happened_is_told_in_true_time() -> None:
    line = happened(journey({"stay_s": 60}), "stay").line(1_767_225_600_000)
    assert line == {
        "vehicle": "lorry", "device": "gps-1", "act": "stay", "lon": 5.0, "lat": 52.0,
        "from": "2026-01-01T00:00:00.000Z", "to": "2026-01-01T00:01:00.000Z",
    }  # fmt: skip


def test_the_readmes_journey_can_be_driven() -> None:
    [text] = re.findall(r"```json\n(\{\"vehicles\".*?)```", README.read_text(), re.DOTALL)
    told = Counter(one.act for one in Journey(read_itineraries(text), OPTIONS).happened)
    assert told == {
        "stay": 2, "drive": 1, "jam": 1, "tunnel": 1, "wrong_turn": 1, "broken": 1, "swap": 1,
    }  # fmt: skip


DRIVE = {"drive": [[5.1, 52.0]], "kmh": 50}
TURN = {"at_m": 5, "by": [[5.1, 52.1]], "back_m": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "journey: this is no JSON"),
        ("[]", "journey: give an object"),
        ("{}", "vehicles: give at least one"),
        ('{"vehicles": {}}', "vehicles: give a list"),
        (file(color=1), "vehicles[0]: there is no member 'color'"),
        (file(device="a/b"), "vehicles[0].device: give a name"),
        (file(at=[181, 0]), "vehicles[0].at: give [lon, lat]"),
        (file(at=[1, "x"]), "vehicles[0].at: give [lon, lat]"),
        (file({}), "vehicles[0].acts[0]: give drive, stay_s, until_s or device"),
        (file({"stay_s": True}), "vehicles[0].acts[0].stay_s: give a number"),
        (file({"stay_s": -1}), "vehicles[0].acts[0].stay_s: -1 is not within 0 to"),
        (file({"drive": [], "kmh": 5}), "vehicles[0].acts[0].drive: give a list of [lon, lat]"),
        (file({"drive": [[5, 52, 1]], "kmh": 5}), "vehicles[0].acts[0].drive[0]: give [lon, lat]"),
        (file({"drive": [[5, 52]]}), "vehicles[0].acts[0].kmh: is missing"),
        (file({**DRIVE, "speed": 5}), "vehicles[0].acts[0]: there is no member 'speed'"),
        (file({**DRIVE, "jams": [{}]}), "vehicles[0].acts[0].jams[0].from_m: is missing"),
        (file({**DRIVE, "wrong_turns": [TURN]}), "wrong_turns[0].back_m: 1 is not within 5"),
        (file(DRIVE | {"tunnels": [{"from_m": 0, "to_m": 1e6}]}), "is behind the end of a drive"),
        (
            file(DRIVE | {"wrong_turns": [{"at_m": m, "by": [[5.1, 52.1]]} for m in (9, 9)]}),
            "wrong_turns: the one at 9 m begins before the last one is over",
        ),
        (file(), "acts: none of them takes any time"),
        (file({"device": "gps-2"}, {"drive": [HERE], "kmh": 5}), "acts: none of them takes any"),
        (file({"stay_s": 60}, {"until_s": 30}), "lorry: acts[1].until_s: it is 60 by then"),
    ],
)
def test_a_file_that_cannot_be_driven_is_refused_with_the_member(text: str, message: str) -> None:
    with pytest.raises(OptionError) as refused:
        Journey(read_itineraries(text), OPTIONS)
    assert message in str(refused.value)


def test_a_device_speaks_for_one_vehicle() -> None:
    [lorry] = json.loads(file({"stay_s": 1}))["vehicles"]
    text = json.dumps({"vehicles": [lorry, {**lorry, "vehicle": "other"}]})
    with pytest.raises(OptionError, match="'gps-1' is in two vehicles"):
        Journey(read_itineraries(text), OPTIONS)
