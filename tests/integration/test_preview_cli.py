"""`waymark fence preview` as a process, on a real database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.ingest_rig import START_US, Rig
from tests.integration.test_fences_live import LAT, LON, drive, yard
from tests.integration.test_preview import raised
from tracking.times import iso

_POINT = {"type": "Point", "coordinates": yard()["center"]}
_START, _END = iso(START_US), iso(START_US + 86_400_000_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two fences: one on the road, and one where nobody comes."""
    features = [
        {
            "type": "Feature",
            "geometry": _POINT,
            "properties": {"name": "The yard", "radius_m": 505, "dwell_s": 60},
        },
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [LON, LAT + 1]},
            "properties": {"name": "Nowhere", "radius_m": 100},
        },
    ]
    path = tmp_path / "sites.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def fence(database_url: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "waymark", "fence", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "WAYMARK_DATABASE_URL": database_url,
            "COLUMNS": "200",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    )


async def test_a_table_tells_the_visits_of_each_fence_and_the_devices(
    database_url: str, file: Path
) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(drive("truck", 0, 0, n=40), drive("van", 0, 0, n=13))
    done = fence(database_url, "preview", file, "--from", _START, "--to", _END)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == [
        "fence", "visits", "mean", "stay", "entered", "exited", "dwelled", "crossed", "sped",
        "devices",
    ]  # fmt: skip
    assert rows[1] == ["The", "yard", "2", "0:01:50", "2", "1", "1", "0", "0", "2"]
    assert rows[2] == ["Nowhere", "0", "-", "0", "0", "0", "0", "0", "0"]
    assert ["truck", "3"] in rows
    assert ["van", "1"] in rows
    assert "2 devices, 53 fixes folded" in done.stdout
    assert "nothing was saved" in done.stdout


async def test_lines_of_json_are_the_events_the_imported_file_raises(
    database_url: str, file: Path
) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(drive("truck", 0, 0, n=40))
        done = fence(
            database_url,
            "preview",
            file,
            "--from",
            _START,
            "--to",
            _END,
            "--json",
            "--id",
            "The-yard",
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines[-1]["summary"]["fences"] == ["The-yard"]
        told = {line["event"]["id"] for line in lines if "event" in line}
        done = fence(database_url, "import", file, "--effective-from", _START)
        assert done.returncode == 0, done.stderr
        await rig.fences.refresh(rig.conn)
        await rig.repair()
        assert told == {event[3] for event in await raised(rig, "The-yard", "Nowhere")}
        assert len(told) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "yesterday"), "--from: 'yesterday' is not a time like 2026-03-08T06:30:00Z"),
        (("--from", _END, "--to", _START), "start: it is not before `end`"),
        (("--from", _START, "--id", "x"), "--id: sites.geojson has no fence 'x'"),
        (("--from", _START, "--tenant", "x"), "there is no tenant 'x'"),
    ],
    ids=["no-time", "end-before-start", "no-such-fence", "no-such-tenant"],
)
def test_mistakes_are_one_line_and_exit_status_2(
    database_url: str, file: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = fence(database_url, "preview", file, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
