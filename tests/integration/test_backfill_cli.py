"""`waymark backfill`, and that what was exported can be brought in again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.integration.api_site import Rows, Site
from tests.integration.ingest_rig import Rig
from tests.integration.test_backfill import work, worker_of
from tests.services import TIMEOUT_FACTOR


def waymark(database_url: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "waymark", "backfill", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "WAYMARK_DATABASE_URL": database_url, "PYTHONPATH": str(Path.cwd())},
        timeout=60 * TIMEOUT_FACTOR,
    )


def forget(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("TRUNCATE position, event, device_state, checkpoint, repair, device CASCADE")


async def places(rig: Rig) -> list[tuple[object, ...]]:
    return await rig.rows(
        "SELECT d.name, p.fix_time, p.lon, p.lat, p.alt_m, p.speed_mps FROM position p "
        "JOIN device d ON d.id = p.device_id ORDER BY 1, 2"
    )


@pytest.mark.parametrize("name", ["csv", "geojson", "gpx"])
async def test_what_was_exported_is_brought_in_again(
    site: Site, database_url: str, tmp_path: Path, name: str
) -> None:
    with Rows(database_url) as rows, psycopg.connect(database_url, autocommit=True) as conn:
        rows.fixes(rows.device("van-7"), 40)
        conn.execute("DELETE FROM position WHERE seq % 2 = 1")
        conn.execute("UPDATE position SET speed_mps = 4.5")
    exported = await site.get("/v1/exports/positions", format=name)
    file = tmp_path / f"van-7.{name}"
    file.write_bytes(exported.content)
    async with Rig(database_url) as rig:
        before = await places(rig)
        assert len(before) == 20
        forget(database_url)
        done = waymark(database_url, tmp_path, str(file), "--no-wait", "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["state"], told["lines"]) == ("queued", 20)
        await work(worker_of(database_url), rig)
        assert await places(rig) == before
        again = json.loads(waymark(database_url, tmp_path, str(file), "--no-wait", "--json").stdout)
        assert (again["id"], again["state"], again["stored"]) == (told["id"], "done", 20)


def test_lines_are_taken_as_they_are_and_mistakes_told_in_one_line(
    database_url: str, tmp_path: Path
) -> None:
    lines = tmp_path / "old.ndjson"
    lines.write_text('{"device":"a","t":"2026-03-08T06:30:00Z","lon":5,"lat":52}')
    done = waymark(database_url, tmp_path, str(lines), "--no-wait")
    assert done.returncode == 0, done.stderr
    assert " is queued: " in done.stdout
    for arguments, words in (
        (("none.gpx",), "no file none.gpx"),
        ((str(lines), "--tenant", "nobody"), "no tenant 'nobody'"),
    ):
        failed = waymark(database_url, tmp_path, *arguments, "--no-wait")
        assert failed.returncode == 2
        assert words in failed.stderr
        assert "Traceback" not in failed.stderr
