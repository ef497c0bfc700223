"""Fences in the pipeline, on a real database: any order, edits, deletions, late fixes."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.mqtt import Message
from tests.integration.ingest_rig import START_US, Rig, draft, pos
from tests.integration.test_pipeline import day_of, shuffled
from tracking.fences import Audience

LON, LAT = 13.0, 52.0
EAST, NORTH = 1 / 68_677.0, 1 / 111_267.0
_TABLES = (
    "position, event, checkpoint, repair, ledger_reason, device_state, device, fence_version, fence"
)


def yard(east_m: float = 1_500, radius_m: float = 505) -> dict[str, Any]:
    """A circle on the road."""
    return {"type": "Circle", "center": [LON + east_m * EAST, LAT], "radius_m": radius_m}


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A rectangle in degrees."""
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def drive(device: str, t_s: float, east_m: float, *, n: int, step_s: float = 10) -> list[Message]:
    """Along the road to the east at 10 m/s."""
    return [
        pos(device, t_s + i * step_s, LON + (east_m + 10 * i * step_s) * EAST, LAT)
        for i in range(n)
    ]


def at(device: str, t_s: float, east_m: float) -> Message:
    """One place on the road."""
    return pos(device, t_s, LON + east_m * EAST, LAT)


async def told(rig: Rig, status: str = "active") -> list[tuple[str, str, float]]:
    """Type, device and second of the fence events, in the order of time."""
    rows = await rig.rows(
        "SELECT type, subject, (extract(epoch FROM time) * 1000000)::bigint FROM event "
        "WHERE (type LIKE 'fence.%%' OR type = 'speed.exceeded') AND status = %s "
        "ORDER BY time, type, subject",
        [status],
    )
    return [(type_, subject, (time_us - START_US) / 1e6) for type_, subject, time_us in rows]


async def clear(rig: Rig) -> None:
    """Forget every device, event and fence."""
    await rig.conn.execute(f"TRUNCATE {_TABLES} CASCADE")
    await rig.conn.execute("UPDATE tenant SET fence_revision = 0")
    rig.pipeline = rig.fresh_pipeline()


async def test_a_visit_is_two_events_with_the_fence_in_their_ids(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard()), draft("twin", yard()))
        [committed] = await rig.feed(drive("truck", 0, 0, n=40))
        assert [(e.type, e.data["fence"]) for e in committed.events if "fence" in e.data] == [
            ("fence.entered", "yard"),
            ("fence.entered", "twin"),
            ("fence.exited", "yard"),
            ("fence.exited", "twin"),
        ]
        assert len({event.id for event in committed.events}) == len(committed.events)
        rows = await rig.rows("SELECT DISTINCT rule FROM event WHERE type LIKE 'fence.%%'")
        assert sorted(rows) == [("twin",), ("yard",)]


async def test_a_late_fix_adds_the_visit_it_tells_of(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard(radius_m=300)))
        story = [at("truck", 120 * i, 2_000 * i) for i in range(4)]
        inside = at("truck", 90, 1_500)
        await rig.feed(story)
        assert await told(rig) == []
        await rig.feed([inside])
        await rig.repair()
        assert await told(rig) == [
            ("fence.entered", "truck", 90),
            ("fence.exited", "truck", 120),
        ]
        assert await rig.rows("SELECT DISTINCT late FROM event WHERE type LIKE 'fence.%%'") == [
            (True,)
        ]


async def test_a_late_fix_retracts_and_amends_what_was_told_without_it(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard(), dwell_s=600.0))
        story = [at("truck", 0, 0), at("truck", 100, 1_500), at("truck", 1_000, 1_500)]
        [committed] = await rig.feed([*story, at("truck", 1_100, 4_000)])
        told_first = [e.type for e in committed.events if e.type.startswith("fence.")]
        assert told_first == ["fence.entered", "fence.dwelled", "fence.exited"]
        # It had been away in between: one stay becomes two short ones.
        await rig.feed([at("truck", 400, 4_000), at("truck", 700, 4_000)])
        await rig.repair()
        assert await told(rig) == [
            ("fence.entered", "truck", 100),
            ("fence.exited", "truck", 400),
            ("fence.entered", "truck", 1_000),
            ("fence.exited", "truck", 1_100),
        ]
        assert await told(rig, "retracted") == [("fence.dwelled", "truck", 700)]
        revisions = await rig.rows(
            "SELECT revision, data->>'inside_s' FROM event WHERE type = 'fence.exited' "
            "AND time = (SELECT max(time) FROM event WHERE type = 'fence.exited')"
        )
        assert revisions == [(2, "100.0")]


async def test_deleting_a_fence_closes_its_open_visits_at_once(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard()))
        await rig.feed(drive("in", 0, 0, n=13), drive("out", 0, 0, n=40))
        await rig.delete("yard")
        assert await rig.repair() == 1
        (closed,) = await rig.rows(
            "SELECT subject, data->>'reason' FROM event "
            "WHERE type = 'fence.exited' AND data->>'reason' = 'deleted'"
        )
        assert closed == ("in", "deleted")
        # What arrives from before the deletion may still tell that it had left.
        await rig.feed(drive("in", 130, 1_300, n=30))
        await rig.repair()
        assert [t for t in await told(rig) if t[1] == "in"] == [
            ("fence.entered", "in", 100),
            ("fence.exited", "in", 210),
        ]
        assert [type_ for type_, *_ in await told(rig, "retracted")] == ["fence.exited"]


async def test_the_next_fix_after_a_deletion_finds_the_visit_closed(database_url: str) -> None:
    async with Rig(database_url) as rig:
        now_s = 30 * 86_400.0
        await rig.save(draft("yard", yard()))
        await rig.feed(drive("in", 0, 0, n=13))
        await rig.delete("yard")
        await rig.repair()
        before = await rig.rows("SELECT id, revision FROM event WHERE type = 'fence.exited'")
        await rig.feed([at("in", now_s * 100, 1_300)])
        assert (
            await rig.rows("SELECT id, revision FROM event WHERE type = 'fence.exited'") == before
        )


async def test_a_worker_that_did_not_know_of_an_edit_puts_right_what_it_told(
    database_url: str,
) -> None:
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard()))
        await rig.feed(drive("truck", 0, 0, n=40), drive("van", 0, 50_000, n=40))
        # Backdated into what is already stored: the yard lay elsewhere from 150 s on.
        moved = draft("yard", yard(2_500), from_us=START_US + 150_000_000)
        await rig.save(moved)
        waiting = await rig.rows(
            "SELECT d.name FROM repair r JOIN device d ON d.id = r.device_id ORDER BY 1"
        )
        assert waiting == [("truck",)]
        await rig.repair()
        assert await told(rig) == [
            ("fence.entered", "truck", 100),
            ("fence.exited", "truck", 150),
            ("fence.entered", "truck", 200),
            ("fence.exited", "truck", 310),
        ]


async def test_a_device_that_joins_a_group_meets_the_fences_of_the_group(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard(), applies_to=Audience(groups=("north",))))
        await rig.feed(drive("a", 0, 0, n=40), drive("b", 0, 0, n=5))
        assert await told(rig) == []
        await rig.conn.execute("UPDATE device SET groups = '{north}' WHERE name = 'b'")
        await rig.conn.execute("UPDATE tenant SET fence_revision = fence_revision + 1")
        await rig.fences.refresh(rig.conn)
        await rig.feed(drive("b", 50, 500, n=30))
        assert {subject for _, subject, _ in await told(rig)} == {"b"}


def fences_of(rng: random.Random) -> list[Any]:
    """Zones, a layer and options of all kinds where `day_of` drives about."""
    drafts = []
    for i in range(8):
        west, south = LON + rng.uniform(-0.01, 0.05), LAT + rng.uniform(-0.005, 0.004)
        size = rng.uniform(0.002, 0.02)
        shape = box(west, south, west + size, south + size)
        drafts.append(
            draft(
                f"f{i}",
                shape if i % 3 else yard(rng.uniform(0, 4_000), rng.uniform(50, 600)),
                layer="zones" if i >= 6 else None,
                dwell_s=rng.choice([None, 60.0, 900.0]),
                speed_limit_mps=rng.choice([None, 10.0]),
                normal=rng.choice(["inside", "outside"]),
            )
        )
    return drafts


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), displaced=st.booleans())
async def test_any_order_tells_the_same_of_the_fences(
    database_url: str,
    seed: int,
    displaced: bool,  # noqa: FBT001 -- drawn
) -> None:
    rng = random.Random(seed)
    messages = [m for name in ("a", "b") for m in day_of(f"{name}-{seed}", rng)]
    drafts = fences_of(rng)
    late = draft("f1", box(LON, LAT - 0.004, LON + 0.02, LAT + 0.004), from_us=START_US + 10**10)
    async with Rig(database_url) as rig:
        await clear(rig)
        await rig.save(*drafts)
        await rig.save(late)
        await rig.feed(messages)
        assert await rig.repair() == 0, "input in order needs no repair"
        expected = await rig.truth()

        await clear(rig)
        await rig.save(*drafts)
        batches = shuffled(messages, rng, displaced=displaced)
        for i, batch in enumerate(batches):
            if i == len(batches) // 2:
                await rig.save(late)
            await rig.feed(batch)
            if rng.random() < 0.2:
                await rig.repair(checkpoint_every=16)
            if rng.random() < 0.1:
                rig.pipeline = rig.fresh_pipeline()
                await rig.fences.refresh(rig.conn)
        await rig.repair()
        assert await rig.truth() == expected


@pytest.mark.parametrize("cut", range(1, 40, 6))
async def test_a_restart_at_any_moment_changes_nothing(database_url: str, cut: int) -> None:
    story = drive("truck", 0, 0, n=40)
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard(), dwell_s=60.0, speed_limit_mps=5.0))
        await rig.feed(story[:cut])
        rig.pipeline = rig.fresh_pipeline()
        await rig.fences.refresh(rig.conn)
        await rig.feed(story[cut:])
        assert await told(rig) == [
            ("fence.entered", "truck", 100),
            ("fence.dwelled", "truck", 160),
            ("fence.exited", "truck", 210),
        ]


async def test_fences_compiled_anew_while_a_worker_runs_tell_the_same(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.fencebook._SCATTERED", 0)
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard()))
        await rig.save(draft("next", yard(2_600)))
        terrain = rig.fences.terrain(1)
        assert terrain is not None
        assert terrain.index.changed == 0
        await rig.feed(drive("truck", 0, 0, n=40))
        assert await told(rig) == [
            ("fence.entered", "truck", 100),
            ("fence.entered", "truck", 210),
            ("fence.exited", "truck", 210),
            ("fence.exited", "truck", 320),
        ]
