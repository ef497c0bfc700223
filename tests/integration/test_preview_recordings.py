"""Previews over real recordings: what a day among fences raised is what they would have raised."""

import csv
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from ingest.mqtt import Message
from tests.integration.ingest_rig import Rig, draft, message
from tests.integration.test_fences_live import box, clear
from tests.integration.test_preview import foreseen, raised
from tracking.fences import FenceDraft
from tracking.times import iso, to_us

DAY_US = 86_400_000_000
_BATCH = 2_000

# Device, time in us, lon, lat.
Fix = tuple[str, int, float, float]


def capmetro(shared: Path) -> list[Fix]:
    """Austin's buses of a day, in the order of the file, which is not that of time."""
    path = shared / "data" / "capmetro_austin" / "2016-11-24.csv.gz"
    with gzip.open(path, "rt") as lines:
        return [
            (
                f"bus-{row['vehicle_id']}",
                to_us(datetime.fromisoformat(row["timestamp"])),
                float(row["longitude"]),
                float(row["latitude"]),
            )
            for row in csv.DictReader(lines)
        ]


def chicago(shared: Path) -> list[Fix]:
    """The shuttle's trips of the recording's busiest day, each a device, every 3 s."""
    fixes: list[Fix] = []
    with zipfile.ZipFile(shared / "data" / "chicago_shuttle" / "tracks_chicago_train.zip") as file:
        names = [name for name in file.namelist() if "trip_" in name and "MACOSX" not in name]
        for name in sorted(names):
            trip = Path(name).stem
            for line in io.StringIO(file.read(name).decode()):
                x, y, t = map(float, line.split())
                # Near enough: the fences are drawn with the same pencil.
                place = (-87.65 + (x - 447_000) / 82_900, 41.87 + (y - 4_636_000) / 111_100)
                fixes.append((trip, round(t * 1e6), *place))
    days = [time_us // DAY_US for _, time_us, *_ in fixes]
    busiest = max(set(days), key=days.count)
    return sorted(
        (fix for fix, day in zip(fixes, days, strict=True) if day == busiest),
        key=lambda fix: fix[1],
    )


def fences_along(fixes: Sequence[Fix], seed: int) -> list[FenceDraft]:
    """Circles of stops, a layer of blocks and a home, where the vehicles are."""
    rng = random.Random(seed)
    lons, lats = sorted(fix[2] for fix in fixes), sorted(fix[3] for fix in fixes)
    west, east = lons[len(lons) // 10], lons[-len(lons) // 10]
    south, north = lats[len(lats) // 10], lats[-len(lats) // 10]
    drafts = [
        draft(
            f"stop-{i:02d}",
            {"type": "Circle", "center": list(fix[2:]), "radius_m": rng.choice([60, 150, 400])},
            dwell_s=rng.choice([None, 120.0]),
        )
        for i, fix in enumerate(rng.sample(fixes, 30))
    ]
    wide, tall = (east - west) / 4, (north - south) / 4
    for i in range(4):
        for j in range(4):
            x, y = west + i * wide, south + j * tall
            drafts.append(draft(f"block-{i}{j}", box(x, y, x + wide, y + tall), layer="blocks"))
    home = box(west, south, east, north)
    return [*drafts, draft("home", home, normal="inside", dwell_s=3_600.0)]


def messages(fixes: Sequence[Fix]) -> list[list[Message]]:
    told = [
        message(
            f"wm/default/{device}/pos",
            json.dumps({"t": iso(time_us), "lon": lon, "lat": lat}).encode(),
        )
        for device, time_us, lon, lat in fixes
    ]
    return [told[i : i + _BATCH] for i in range(0, len(told), _BATCH)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("recording", [capmetro, chicago], ids=["capmetro", "chicago"])
async def test_the_preview_of_a_real_day_is_what_that_day_raised(
    database_url: str, shared_data: Path, recording: Callable[[Path], list[Fix]]
) -> None:
    fixes = recording(shared_data)
    start_us = min(fix[1] for fix in fixes)
    # What the last hour tells is confirmed by what comes after it.
    end_us = max(fix[1] for fix in fixes) - 3_600_000_000
    drafts = fences_along(fixes, 5)
    async with Rig(database_url) as rig:
        await rig.feed(*messages(fixes))
        told, summary = await foreseen(rig, *drafts, start_us=start_us, end_us=end_us)
        types = {event[0] for event in told}
        assert types >= {"fence.entered", "fence.exited", "fence.dwelled"}
        assert len(told) > 500
        await clear(rig)

        await rig.save(*[replace(each, effective_from_us=start_us) for each in drafts])
        await rig.feed(*messages(fixes))
        await rig.repair()
        ids = [each.id for each in drafts]
        assert told == await raised(rig, *ids, start_us=start_us, end_us=end_us)
        assert sorted(summary.fences) == sorted(ids)
