"""Real taxis among fences: whatever order their fixes come in, the events are the same."""

import csv
import gzip
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ingest.mqtt import Message
from tests.integration.ingest_rig import Rig, draft, message
from tests.integration.test_fences_live import box
from tracking.fences import FenceDraft
from tracking.times import iso

TAXIS, DAY_S = 12, 86_400
_CENTRE = (-8.6109, 41.1496)


def taxis(shared: Path) -> dict[str, list[tuple[float, float, float]]]:
    """The fixes (t_s, lon, lat) of the busiest taxis of the recording, by device time."""
    fixes: dict[str, dict[float, tuple[float, float]]] = defaultdict(dict)
    with gzip.open(shared / "data" / "porto_taxi" / "train.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            start_s = float(row["TIMESTAMP"])
            for i, (lon, lat) in enumerate(json.loads(row["POLYLINE"])):
                fixes[row["TAXI_ID"]].setdefault(start_s + 15.0 * i, (lon, lat))
    busiest = sorted(fixes, key=lambda taxi: -len(fixes[taxi]))[:TAXIS]
    return {taxi: [(t, *place) for t, place in sorted(fixes[taxi].items())] for taxi in busiest}


def zones() -> list[FenceDraft]:
    """A layer of blocks over the centre, and free circles that lie across their borders."""
    west, south = _CENTRE[0] - 0.03, _CENTRE[1] - 0.02
    drafts = []
    for i in range(12):
        for j in range(10):
            x, y = west + i * 0.005, south + j * 0.004
            name = f"block-{i:02d}-{j:02d}"
            square = box(x, y, x + 0.005, y + 0.004)
            drafts.append(draft(name, square, from_us=0, layer="blocks", dwell_s=300.0))
    rng = random.Random(3)
    for n in range(40):
        centre = [_CENTRE[0] + rng.uniform(-0.03, 0.03), _CENTRE[1] + rng.uniform(-0.02, 0.02)]
        circle = {"type": "Circle", "center": centre, "radius_m": rng.uniform(60, 300)}
        drafts.append(draft(f"stand-{n:02d}", circle, from_us=0, dwell_s=120.0))
    return drafts


def messages(fixes: dict[str, list[tuple[float, float, float]]]) -> list[Message]:
    """The day as it happened, and the day after over again, in order of time."""
    told = [
        (t + day * DAY_S, taxi, lon, lat)
        for taxi, track in fixes.items()
        for t, lon, lat in track
        for day in (0, 1)
    ]
    return [
        message(
            f"wm/default/taxi-{taxi}/pos",
            json.dumps({"t": iso(round(t * 1e6)), "lon": lon, "lat": lat}).encode(),
        )
        for t, taxi, lon, lat in sorted(told)
    ]


def disordered(story: Sequence[Message], rng: random.Random) -> list[list[Message]]:
    """Some fixes a day late, some twice, all a little out of order, in batches of all sizes."""
    keyed: list[tuple[float, Message]] = []
    day = len(story) / 2
    for i, each in enumerate(story):
        late = day + rng.uniform(0, 50) if rng.random() < 0.03 else rng.uniform(0, 40)
        keyed.append((i + late, each))
        if rng.random() < 0.1:
            keyed.append((i + rng.uniform(0, len(story)), each))
    pile = [each for _, each in sorted(keyed, key=lambda pair: pair[0])]
    batches = []
    while pile:
        size = rng.choice([5, 50, 400])
        batches.append(pile[:size])
        pile = pile[size:]
    return batches


async def fence_events(rig: Rig) -> list[tuple[Any, ...]]:
    """Everything about the active events of fences that does not depend on arrival."""
    return await rig.rows(
        "SELECT id, type, subject, rule, time, confirmed_at, data FROM event "
        "WHERE status = 'active' AND rule IS NOT NULL ORDER BY id"
    )


@pytest.mark.timeout(300)
async def test_real_tracks_late_shuffled_and_doubled_tell_what_they_tell_in_order(
    database_url: str, shared_data: Path
) -> None:
    story = messages(taxis(shared_data))
    async with Rig(database_url) as rig:
        await rig.save(*zones())
        for start in range(0, len(story), 500):
            await rig.feed(story[start : start + 500])
        assert await rig.repair() == 0
        expected = await fence_events(rig)
        types = {row[1] for row in expected}
        assert types >= {"fence.entered", "fence.exited", "fence.dwelled", "fence.crossed"}
        await rig.conn.execute("TRUNCATE position, event, checkpoint, repair, device CASCADE")
        rig.pipeline = rig.fresh_pipeline()
        await rig.fences.refresh(rig.conn)

        rng = random.Random(7)
        for batch in disordered(story, rng):
            await rig.feed(batch)
            if rng.random() < 0.1:
                await rig.repair()
        await rig.repair()
        assert await fence_events(rig) == expected
        changed = await rig.rows(
            "SELECT count(*) FILTER (WHERE status = 'retracted'), "
            "count(*) FILTER (WHERE revision > 1), count(*) FILTER (WHERE late) FROM event"
        )
        assert all(n > 0 for n in changed[0]), "history was repaired in every way"
