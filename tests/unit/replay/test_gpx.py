from pathlib import Path

import pytest

from tests.unit.replay.support import replayed, rows_of, written
from tracking.errors import InputError
from waymark.replay.reading import SkipReason

GPX_11 = """<?xml version="1.0" encoding="UTF-8"?>
<gpx version="1.1" creator="t" xmlns="http://www.topografix.com/GPX/1/1"
  xmlns:e="http://www.garmin.com/xmlschemas/TrackPointExtension/v2">
 <metadata><time>2020-01-01T00:00:00Z</time></metadata>
 <wpt lon="4.5" lat="52.5"><time>2026-01-01T00:00:00Z</time><name>Depot</name></wpt>
 <rte><rtept lon="1" lat="2"/></rte>
 <trk><name>Morning</name><trkseg>
  <trkpt lat="52.25" lon="4.25"><ele>-3.5</ele><time>2026-01-01T01:00:00+01:00</time>
   <extensions><e:TrackPointExtension><e:speed>2.5</e:speed><e:course>90</e:course><e:hr>120</e:hr>
   </e:TrackPointExtension></extensions></trkpt>
  <trkpt lat="52.25" lon="4.25"/>
 </trkseg></trk>
</gpx>
"""
GPX_10 = """<gpx version="1.0" xmlns="http://www.topografix.com/GPX/1/0"><trk><trkseg>
<trkpt lat="95" lon="4.25"><time>2026-01-01T00:00:00</time><course>180</course>
<speed>7</speed></trkpt></trkseg></trk></gpx>"""


def test_gpx_1_1_track_points_and_waypoints_are_read_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, "my ride.gpx", GPX_11)
    messages, tally = replayed(path)
    assert messages == [
        (
            "wm/default/my_ride/pos",
            {"t": "2026-01-01T00:00:00Z", "lon": 4.5, "lat": 52.5, "attrs": {"name": "Depot"}},
        ),
        (
            "wm/default/my_ride/pos",
            {
                "t": "2026-01-01T00:00:00Z",
                "lon": 4.25,
                "lat": 52.25,
                "alt_m": -3.5,
                "speed_mps": 2.5,
                "course_deg": 90.0,
                "attrs": {"track": "Morning", "hr": "120"},
            },
        ),
        (
            "wm/default/my_ride/pos",
            {"lon": 4.25, "lat": 52.25, "attrs": {"track": "Morning"}},
        ),
    ]
    assert (tally.rows, tally.readings) == (4, 3)
    assert [(row.number, row.skipped) for row in rows_of(path) if row.skipped] == [
        (2, SkipReason.NOT_A_POSITION)
    ]


def test_gpx_1_0_has_speed_and_course_in_the_point_and_its_times_are_utc(tmp_path: Path) -> None:
    messages, tally = replayed(written(tmp_path, "a.xml", GPX_10))
    assert [message for _, message in messages] == [
        {
            "t": "2026-01-01T00:00:00Z",
            "lon": 4.25,
            "lat": 95.0,
            "speed_mps": 7.0,
            "course_deg": 180.0,
        }
    ]
    assert tally.faults == {"coordinates_out_of_range": 1}


def test_a_document_type_is_refused_before_any_entity_is_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE gpx [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><gpx>&b;</gpx>'
    with pytest.raises(InputError, match="DOCTYPE"):
        rows_of(written(tmp_path, "a.gpx", bomb))
    outside = '<!DOCTYPE gpx SYSTEM "file:///etc/passwd"><gpx/>'
    with pytest.raises(InputError, match="DOCTYPE"):
        rows_of(written(tmp_path, "b.gpx", outside))


def test_malformed_xml_is_told_with_its_line_after_the_points_before_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a.gpx", GPX_10[: GPX_10.index("</trkseg>")])
    with pytest.raises(InputError, match=r"not well-formed.*line 3"):
        rows_of(path)


def test_other_xml_is_not_taken_for_gpx(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="XML but not GPX"):
        rows_of(written(tmp_path, "a.gpx", "<kml><Placemark/></kml>"))
