"""Answers about roads, as the engines were heard to give them, and when a failing one is asked."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.roads.answer import read_answer
from ingest.roads.breaker import Breaker
from tracking.errors import RoadsUnavailable
from tracking.roads import RoadSource, road_source

# Of Valhalla 3.9.1 and OSRM 26.10.0, for two places of a town made for it.
SHAPE = (
    "gj{gbB_}gvHgiB?ooB?ooB?ooB?ooB?ooB??ozD?ozD?ozD?ozD?ozD?ozD?ozD?ozDooB?ooB?ooB?ooB??ozD?ozD?g^"
)
VALHALLA = (
    '{"routes":[{"weight_name":"auto","weight":327.22,"duration":306.457,"distance":4073.4,"legs":'
    '[{"via_waypoints":[],"admins":[{}],"weight":327.22,"duration":306.457,"steps":[],"distance":'
    f'4073.4,"summary":""}}],"geometry":{json.dumps(SHAPE)}}}],"waypoints":[{{"distance":6.846,'
    '"name":"North 0","location":[5.100000,52.050100]},{"distance":0.000,"name":"East 10",'
    '"location":[5.130500,52.068000]}],"code":"Ok"}'
)
OSRM = (
    '{"code":"Ok","routes":[{"legs":[{"steps":[],"weight":369.2,"summary":"","duration":369.2,'
    f'"distance":4082.9}}],"weight_name":"routability","geometry":{json.dumps(SHAPE)},"weight":369.2'
    ',"duration":369.2,"distance":4082.9}],"waypoints":[{"location":[5.1,52.0501],"name":"North 0",'
    '"distance":6.856318401},{"location":[5.1305,52.068],"name":"East 10","distance":0}]}'
)
NO_WAY = [
    '{"code":"NoRoute","message":"Impossible route between points"}',
    '{"message":"Could not find a matching segment for coordinate 1","code":"NoSegment"}',
    '{"code":"DistanceExceeded","message":"Path distance exceeds the max distance limit."}',
]


@pytest.mark.parametrize(
    ("answer", "metres", "seconds"), [(VALHALLA, 4073.4, 306.457), (OSRM, 4082.9, 369.2)]
)
def test_both_engines_tell_a_way_in_one_format(answer: str, metres: float, seconds: float) -> None:
    path = read_answer(answer.encode())
    assert path is not None
    assert path.points[0] == (5.1, 52.0501)
    assert path.points[-1] == (5.1305, 52.068)
    assert len(path.points) == 22
    assert (path.metres, path.seconds) == (metres, seconds)


@pytest.mark.parametrize("answer", NO_WAY)
def test_where_there_is_no_way_the_answer_is_none(answer: str) -> None:
    assert read_answer(answer.encode(), 400) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b"[]",
        b'{"code":"Ok"}',
        b'{"code":"Ok","routes":[]}',
        b'{"code":"Ok","routes":[{"geometry":"_","distance":1,"duration":1}]}',
        b'{"code":"Ok","routes":[{"geometry":"","distance":1,"duration":1}]}',
        b'{"code":"Ok","routes":[{"geometry":{"type":"LineString"},"distance":1,"duration":1}]}',
        b'{"code":"Ok","routes":[{"geometry":"~~~~~~~?~~~~~~~?~~?","distance":1,"duration":1}]}',
        b'{"code":"InvalidOptions","message":"Options are invalid."}',
        b'{"error_code":125,"error":"No costing method found","status_code":400}',
        b"\xff\xfe",
    ],
)
def test_an_answer_that_is_none_is_a_named_error(answer: bytes) -> None:
    with pytest.raises(RoadsUnavailable, match=r"."):
        read_answer(answer, 502)


@given(st.binary(max_size=200))
def test_rubbish_is_never_more_than_a_named_error(rubbish: bytes) -> None:
    try:
        read_answer(rubbish)
    except RoadsUnavailable:
        return
    # What is left says that there is no way.
    assert json.loads(rubbish)["code"].startswith(("No", "Distance"))


def test_several_failures_in_a_row_stop_the_questions_and_one_success_starts_them() -> None:
    breaker = Breaker()
    for _ in range(2):
        breaker.failed(0.0, 0.5)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(0.0, 0.5)
    assert breaker.pause_s(0.0) == 0.0
    breaker.failed(0.0, 0.5)
    assert breaker.open
    assert breaker.pause_s(0.0) == 5.0
    assert breaker.pause_s(6.0) == 0.0
    breaker.asked()
    assert breaker.pause_s(6.0) is None, "one question is on trial"
    breaker.withdrawn()
    assert breaker.pause_s(6.0) == 0.0
    breaker.asked()
    breaker.succeeded()
    breaker.asked()
    assert breaker.pause_s(0.0) == 0.0, "any number at once"


def test_pauses_double_up_to_five_minutes_and_vary_with_chance() -> None:
    breaker = Breaker()
    pauses = []
    for _ in range(12):
        breaker.failed(100.0, 0.5)
        pauses.append(breaker.pause_s(100.0))
    assert pauses == [0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300, 300]
    breaker.failed(100.0, 0.0)
    assert breaker.pause_s(100.0) == 150.0
    breaker.failed(100.0, 1.0)
    assert breaker.pause_s(100.0) == 450.0


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("none", None),
        ("valhalla:http://roads:8002/", RoadSource("valhalla", "http://roads:8002")),
        ("osrm:https://roads.example/osrm", RoadSource("osrm", "https://roads.example/osrm")),
        ("valhalla-tiles:/srv/tiles.tar", RoadSource("valhalla-tiles", "/srv/tiles.tar")),
    ],
)
def test_the_setting_names_a_provider(text: str, source: RoadSource | None) -> None:
    assert road_source(text) == source


@pytest.mark.parametrize(
    "text",
    [
        "", "None", "valhalla", "valhalla:", "valhalla:roads:8002", "osrm:ftp://roads", "google:x",
        "osrm:http://", "osrm:http://roads?key=1", "osrm:http://roads:99999", "valhalla-tiles:",
    ],
)  # fmt: skip
def test_any_other_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        road_source(text)
