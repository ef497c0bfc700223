import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.replay.support import replayed, rows_of, written
from tracking.errors import InputError
from waymark.replay.dispatch import TableOptions
from waymark.replay.reading import SkipReason


def collection(*features: object) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features})


def point(position: object, **properties: object) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": position}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def test_points_carry_their_time_and_device_in_properties(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "a.geojson",
        collection(
            point([4.5, 52.5, 3], time="2026-01-01T00:00:00Z", device=12, speed_kmh=36, load=[1]),
            point([200, 52.5], time=1_767_225_600_000, device="x/y"),
            point(None, time="2026-01-01T00:00:00Z", device="z"),
        ),
    )
    messages, tally = replayed(path)
    t = "2026-01-01T00:00:00Z"
    assert messages == [
        (
            "wm/default/12/pos",
            {
                "t": t,
                "lon": 4.5,
                "lat": 52.5,
                "alt_m": 3,
                "speed_mps": 10.0,
                "attrs": {"load": [1]},
            },
        ),
        ("wm/default/x_y/pos", {"t": t, "lon": 200, "lat": 52.5}),
        ("wm/default/z/pos", {"t": t}),
    ]
    assert tally.faults == {"coordinates_out_of_range": 1, "missing_field": 1}


def test_a_line_with_coord_times_is_one_row_of_many_readings(tmp_path: Path) -> None:
    times = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z"]
    line = {"type": "LineString", "coordinates": [[4, 52], [4, 53]]}
    lines = {"type": "MultiLineString", "coordinates": [[[4, 52]], [[4, 53]]]}
    path = written(
        tmp_path,
        "walk.geojson",
        collection(
            {"type": "Feature", "geometry": line, "properties": {"coordTimes": times, "name": "N"}},
            {
                "type": "Feature",
                "geometry": lines,
                "properties": {"coordinateProperties": {"times": [times[:1], times[1:]]}},
            },
        ),
    )
    messages, tally = replayed(path)
    expected = [
        {"t": times[0], "lon": 4, "lat": 52},
        {"t": times[1], "lon": 4, "lat": 53},
    ]
    assert [topic for topic, _ in messages] == ["wm/default/walk/pos"] * 4
    assert [message for _, message in messages[:2]] == [
        {**message, "attrs": {"name": "N"}} for message in expected
    ]
    assert [message for _, message in messages[2:]] == expected
    assert (tally.rows, tally.readings) == (2, 4)


def test_what_is_no_position_is_skipped_under_a_reason(tmp_path: Path) -> None:
    line = {"type": "LineString", "coordinates": [[4, 52], [4, 53]]}
    path = written(
        tmp_path,
        "a.geojson",
        collection(
            point([4, 52], time="2026-01-01T00:00:00Z"),
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": []}},
            {"type": "Feature", "geometry": line, "properties": {}},
            {"type": "Feature", "geometry": line, "properties": {"coordTimes": ["x"]}},
            "nonsense",
        ),
    )
    assert [(row.number, row.skipped) for row in rows_of(path)] == [
        (1, None),
        (2, SkipReason.NOT_A_POSITION),
        (3, SkipReason.NOT_A_POSITION),
        (4, SkipReason.BROKEN_LINE),
        (5, SkipReason.BROKEN_LINE),
    ]


def test_points_whose_time_has_an_unknown_name_ask_for_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a.geojson", collection(point([4, 52], wann="2026-01-01T00:00:00Z")))
    with pytest.raises(InputError, match=r"no column for t .*wann"):
        rows_of(path)
    messages, _ = replayed(path, TableOptions(columns={"t": "wann"}))
    assert messages[0][1]["t"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"type": "FeatureCollection", "features": [', "not whole JSON"),
        ('{"type": "FeatureCollection", "features": []}', "no features"),
        ('{"type": "Topology"}', "neither a GeoJSON"),
        ("[1, 2]", "neither a GeoJSON"),
    ],
)
def test_other_json_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        rows_of(written(tmp_path, "a.geojson", text))
