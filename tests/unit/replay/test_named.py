"""The named mappings, on a few rows of each shape."""

from pathlib import Path

import pytest

from tests.unit.replay.support import replayed, rows_of, written
from waymark.replay.dispatch import TableOptions
from waymark.replay.named import load
from waymark.replay.reading import SkipReason

CAPMETRO = "vehicle_id,timestamp,speed,route_id,trip_id,latitude,longitude,trip_headsign\n"


def test_capmetro_speed_is_in_miles_per_hour_until_2015_and_metric_from_2016(
    tmp_path: Path,
) -> None:
    path = written(
        tmp_path,
        "x.csv",
        CAPMETRO
        + "7,2015-12-31T23:59:59-06:00,10,801,1,30.25,-97.75,NORTHBOUND\n"
        + "7,2016-01-01T00:00:00-06:00,10,801,1,30.25,-97.75,\n",
    )
    messages, tally = replayed(path)
    assert tally.files[0].mapping == "capmetro"
    assert messages == [
        (
            "wm/default/7/pos",
            {
                "t": "2016-01-01T05:59:59Z",
                "lon": -97.75,
                "lat": 30.25,
                "speed_mps": 4.4704,
                "attrs": {"route_id": "801", "trip_id": "1", "trip_headsign": "NORTHBOUND"},
            },
        ),
        (
            "wm/default/7/pos",
            {
                "t": "2016-01-01T06:00:00Z",
                "lon": -97.75,
                "lat": 30.25,
                "speed_mps": 10.0,
                "attrs": {"route_id": "801", "trip_id": "1"},
            },
        ),
    ]


def test_a_unit_said_by_the_user_beats_the_mapping(tmp_path: Path) -> None:
    path = written(
        tmp_path, "x.csv", CAPMETRO + "7,2015-03-08T01:00:00-06:00,36,1,1,30.25,-97.75,N\n"
    )
    messages, _ = replayed(path, TableOptions(units={"speed": "kmh"}))
    assert messages[0][1]["speed_mps"] == 10.0


def test_a_porto_trip_is_a_point_every_15_s_and_an_empty_trip_is_skipped(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "x.csv",
        "TRIP_ID,CALL_TYPE,ORIGIN_STAND,TAXI_ID,TIMESTAMP,MISSING_DATA,POLYLINE\n"
        '1,A,,20000589,1372636858,False,"[[-8.5,41.25],[-8.5,41.5],[181,null]]"\n'
        "1,A,,20000589,1372636858,False,[]\n"
        '1,A,,20000589,1372636858,False,"[[-8.5,"\n',
    )
    messages, tally = replayed(path)
    assert tally.files[0].mapping == "porto"
    attrs = {"CALL_TYPE": "A", "MISSING_DATA": "False"}
    assert [message for _, message in messages] == [
        {"t": "2013-07-01T00:00:58Z", "lon": -8.5, "lat": 41.25, "attrs": attrs},
        {"t": "2013-07-01T00:01:13Z", "lon": -8.5, "lat": 41.5, "attrs": attrs},
        {"t": "2013-07-01T00:01:28Z", "lon": 181, "attrs": attrs},
    ]
    assert [(row.number, row.skipped) for row in rows_of(path)][1:] == [
        (3, SkipReason.EMPTY),
        (4, SkipReason.BROKEN_LINE),
    ]


def test_ais_values_that_mean_not_available_are_left_out(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "x.csv",
        "# Timestamp,MMSI,Latitude,Longitude,SOG,COG,Heading,Name\n"
        "20/03/2021 00:22:10,219000001,55.5,12.5,10,90.5,88,ANNA\n"
        "20/03/2021 00:22:20,219000001,91,181,102.3,360,511,ANNA\n",
    )
    messages, tally = replayed(path)
    assert tally.files[0].mapping == "ais"
    assert [message for _, message in messages] == [
        {
            "t": "2021-03-20T00:22:10Z",
            "lon": 12.5,
            "lat": 55.5,
            "speed_mps": 5.144444,
            "course_deg": 90.5,
            "attrs": {"Heading": "88", "Name": "ANNA"},
        },
        {"t": "2021-03-20T00:22:20Z", "lon": 181.0, "lat": 91.0, "attrs": {"Name": "ANNA"}},
    ]
    assert tally.notices == []


@pytest.mark.parametrize(
    ("name", "header", "row", "time"),
    [
        pytest.param(
            "ais",
            "\ufeffID,ais_pos_timestamp,longitude,latitude",
            "1,20/03/2021 00:22,32.5,31.5",
            "2021-03-20T00:22:00Z",
            id="suez",
        ),
        pytest.param(
            "ais",
            "MMSI,BaseDateTime,LAT,LON,SOG,COG",
            "1,2021-03-20T00:22:00,31.5,32.5,,",
            "2021-03-20T00:22:00Z",
            id="marine cadastre",
        ),
        pytest.param(
            "liverpool",
            '"id","vehicle_id","timestamp","latitude","longitude","bearing","route_name",'
            '"direction","operator"',
            '9,"4716","2026-06-26 15:57:02",31.5,32.5,,"14",outbound,AMSY',
            "2026-06-26T14:57:02Z",
            id="liverpool in summer",
        ),
    ],
)
def test_a_known_header_chooses_its_mapping(
    tmp_path: Path, name: str, header: str, row: str, time: str
) -> None:
    messages, tally = replayed(written(tmp_path, "x.csv", f"{header}\n{row}\n"))
    assert tally.files[0].mapping == name
    assert [message["t"] for _, message in messages] == [time]
    assert (messages[0][1]["lon"], messages[0][1]["lat"]) == (32.5, 31.5)
    assert "course_deg" not in messages[0][1]


def test_a_mapping_can_be_asked_for_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", "MMSI,Timestamp,LON,LAT\n1,20/03/2021 00:22,32.5,31.5\n")
    messages, _ = replayed(path, TableOptions(mapping=load("ais")))
    assert messages[0][1]["t"] == "2021-03-20T00:22:00Z"
