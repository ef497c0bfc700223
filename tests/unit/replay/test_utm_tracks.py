import zipfile
from pathlib import Path

import pytest

from tests.unit.replay.support import replayed, written
from tracking.errors import InputError
from waymark.replay.readers.utm_tracks import lon_lat


@pytest.mark.parametrize(
    ("x_m", "y_m", "zone", "lon", "lat"),
    [
        pytest.param(630_084, 4_833_438, 17, -79.387139, 43.642567, id="CN Tower"),
        pytest.param(500_000, 4_982_950.4, 31, 3.0, 45.0, id="45 degrees on the meridian"),
        pytest.param(166_021.44, 0, 31, 0.0, 0.0, id="edge of the zone on the equator"),
    ],
)
def test_utm_metres_become_the_published_degrees(
    x_m: float, y_m: float, zone: int, lon: float, lat: float
) -> None:
    # The published coordinates are given to the metre, 1e-5 degrees.
    assert lon_lat(x_m, y_m, zone) == pytest.approx((lon, lat), abs=1.5e-5)


def test_each_track_of_an_archive_is_a_device(tmp_path: Path) -> None:
    path = tmp_path / "chicago.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("chicago/LICENSE.txt", "free")
        archive.writestr("chicago/trips/trip_1.txt", "446097.65 4636565.41 1301806255.0\n")
        archive.writestr("chicago/trips/trip_2.txt", "446097.65 4636565.41 1301806255.0\nx\n\n")
    messages, tally = replayed(path)
    assert [topic for topic, _ in messages] == ["wm/default/trip_1/pos", "wm/default/trip_2/pos"]
    assert messages[0][1] == {"t": "2011-04-03T04:50:55Z", "lon": -87.6496271, "lat": 41.879176}
    assert tally.skipped == {"broken_line": 1, "empty": 1}


def test_tracks_from_elsewhere_must_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--format tracks"):
        replayed(written(tmp_path, "a.txt", "446097.65 4636565.41 1301806255.0\n"))
