"""Preview on a real database: it tells what live processing tells once the fences are saved."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.mqtt import Message
from tests.integration.ingest_rig import NOW_US, START_US, Rig, draft
from tests.integration.test_fences_live import (
    EAST,
    LAT,
    LON,
    at,
    box,
    clear,
    drive,
    fences_of,
    yard,
)
from tests.integration.test_pipeline import day_of, shuffled
from tracking.errors import InputError
from tracking.feed import EventRecord
from tracking.fences import Audience, FenceDraft
from tracking.fold import Rules
from tracking.preview import Preview, Progress, Question, Summary
from tracking.store.connection import connect
from tracking.store.registry import tenant_ids
from tracking.times import iso

Told = tuple[str, str, str, str, Any]


async def foreseen(
    rig: Rig,
    *drafts: FenceDraft,
    start_us: int = START_US,
    end_us: int = NOW_US,
    devices: tuple[str, ...] | None = None,
) -> tuple[list[Told], Summary]:
    """What a preview of the drafts tells, sorted, and its summary."""
    tenants = await tenant_ids(rig.conn)
    question = Question("default", tenants["default"], drafts, start_us, end_us, devices)
    told: list[Told] = []
    summary = None
    async with await connect(rig._database_url, name="preview") as conn:
        prepared = await Preview.prepare(conn, question, Rules())
        async for item in prepared.run():
            if isinstance(item, EventRecord):
                data = msgspec.json.decode(msgspec.json.encode(item.data))
                told.append((item.type, item.subject, iso(item.time_us), item.id, data))
            elif isinstance(item, Summary):
                summary = item
            else:
                assert isinstance(item, Progress)
    assert summary is not None
    assert sum(summary.events.values()) == len(told)
    return sorted(told), summary


async def raised(rig: Rig, *ids: str, start_us: int = START_US, end_us: int = NOW_US) -> list[Told]:
    """What live processing has told of the fences within the window, sorted."""
    rows = await rig.rows(
        "SELECT type, subject, (extract(epoch FROM time) * 1000000)::bigint, id, data FROM event "
        "WHERE rule = ANY(%s) AND status = 'active'",
        [list(ids)],
    )
    return sorted(
        (type_, subject, iso(time_us), str(id_), data)
        for type_, subject, time_us, id_, data in rows
        if start_us <= time_us < end_us
    )


async def both(
    rig: Rig,
    messages: Sequence[Sequence[Message]],
    *drafts: FenceDraft,
    start_us: int = START_US,
    end_us: int = NOW_US,
) -> list[Told]:
    """Preview over history without the fences; then the same history with them."""
    await rig.feed(*messages)
    await rig.repair()
    told, _ = await foreseen(rig, *drafts, start_us=start_us, end_us=end_us)
    await clear(rig)
    await rig.save(*drafts)
    await rig.feed(*messages)
    await rig.repair()
    ids = [d.id for d in drafts]
    assert told == await raised(rig, *ids, start_us=start_us, end_us=end_us)
    return told


async def test_a_preview_tells_what_the_fence_then_raises_id_for_id(database_url: str) -> None:
    async with Rig(database_url) as rig:
        story = [*drive("truck", 0, 0, n=40), *drive("van", 7, 0, n=13), *drive("far", 0, 9e4, n=9)]
        told = await both(rig, [story], draft("yard", yard(), dwell_s=60.0, speed_limit_mps=9.0))
        assert [(type_, subject) for type_, subject, *_ in told] == [
            ("fence.dwelled", "truck"),
            ("fence.entered", "truck"),
            ("fence.entered", "van"),
            ("fence.exited", "truck"),
        ]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), displaced=st.booleans())
async def test_a_preview_after_any_order_of_arrival_tells_what_live_processing_tells(
    database_url: str,
    seed: int,
    displaced: bool,  # noqa: FBT001 -- drawn
) -> None:
    rng = random.Random(seed)
    messages = [m for name in ("a", "b", "c") for m in day_of(f"{name}-{seed}", rng)]
    drafts = fences_of(rng)
    start_us = START_US + rng.choice([0, 1, 3_600, 7_200]) * 1_000_000
    end_us = rng.choice([NOW_US, start_us + 5_400_000_000])
    async with Rig(database_url) as rig:
        await clear(rig)
        for batch in shuffled(messages, rng, displaced=displaced):
            await rig.feed(batch)
            if rng.random() < 0.2:
                await rig.repair(checkpoint_every=16)
        told, _ = await foreseen(rig, *drafts, start_us=start_us, end_us=end_us)
        await rig.save(*[replace(d, effective_from_us=start_us) for d in drafts])
        await rig.repair(checkpoint_every=16)
        assert told == await raised(rig, *[d.id for d in drafts], start_us=start_us, end_us=end_us)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), displaced=st.booleans())
# A neighbour of a layer, left long ago, was forgotten or not, as other fences had it.
@example(seed=1671, displaced=False)
async def test_edits_of_all_kinds_previewed_are_the_edits_saved(
    database_url: str,
    seed: int,
    displaced: bool,  # noqa: FBT001 -- drawn
) -> None:
    rng = random.Random(seed)
    messages = [m for name in ("a", "b", "c") for m in day_of(f"{name}-{seed}", rng)]
    before, after = fences_of(rng), fences_of(rng)
    start_us = START_US + rng.choice([1, 3_600, 7_200, 20_000]) * 1_000_000
    end_us = rng.choice([NOW_US, start_us + 5_400_000_000])
    # Some are edited, some new, some of what is there stays.
    edits = [
        replace(draft_, id=draft_.id if rng.random() < 0.7 else f"new-{i}")
        for i, draft_ in enumerate(rng.sample(after, 5))
    ]
    async with Rig(database_url) as rig:
        await clear(rig)
        await rig.save(*before)
        for batch in shuffled(messages, rng, displaced=displaced):
            await rig.feed(batch)
            if rng.random() < 0.2:
                await rig.repair(checkpoint_every=16)
        told, _ = await foreseen(rig, *edits, start_us=start_us, end_us=end_us)
        await rig.save(*[replace(d, effective_from_us=start_us) for d in edits])
        await rig.repair(checkpoint_every=16)
        ids = [d.id for d in edits]
        assert told == await raised(rig, *ids, start_us=start_us, end_us=end_us)


async def test_an_edit_previewed_is_the_edit_saved_backdated(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard(), dwell_s=60.0), draft("other", yard(2_500, 300)))
        # In the yard, out of it, in what it becomes, and one that never moves out of it.
        await rig.feed(drive("truck", 0, 0, n=60), drive("late", 120, 0, n=60))
        await rig.feed([at("parked", 10 * i, 1_500) for i in range(60)])
        start_us = START_US + 150_000_000
        moved = draft("yard", yard(2_500), from_us=start_us, speed_limit_mps=5.0)
        told, _ = await foreseen(rig, moved, start_us=start_us)
        before = await raised(rig, "yard", start_us=start_us)
        await rig.save(moved)
        await rig.repair()
        assert told == await raised(rig, "yard", start_us=start_us)
        assert told != before, "the edit changes what is told"
        assert {subject for _, subject, *_ in told} == {"truck", "late", "parked"}
        assert {data["fence_version"] for *_, data in told} == {2}


async def test_a_device_inside_from_before_and_never_near_again_leaves_in_the_preview(
    database_url: str,
) -> None:
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard()))
        # A checkpoint tells that it was inside; then it is unheard of until it is far away.
        await rig.feed([at("truck", 10 * i, 1_500) for i in range(140)])
        await rig.feed([at("truck", 90_000, 900_000)])
        start_us = START_US + 50_000_000_000
        edited = draft("yard", yard(radius_m=400), from_us=start_us)
        told, summary = await foreseen(rig, edited, start_us=start_us)
        assert [(type_, time) for type_, _, time, *_ in told] == [
            ("fence.exited", iso(START_US + 90_000_000_000))
        ]
        assert summary.fixes < 140, "it was folded from its checkpoint"
        await rig.save(edited)
        await rig.repair()
        assert told == await raised(rig, "yard", start_us=start_us)


async def test_what_is_confirmed_after_the_end_is_told_if_it_happened_before(
    database_url: str,
) -> None:
    async with Rig(database_url) as rig:
        # Inside from 100 s on; the next fix, with which dwelling is noticed, comes much later.
        story = [*drive("truck", 0, 0, n=13), at("truck", 4_000, 1_500), at("truck", 5_000, 9_000)]
        told = await both(
            rig,
            [story],
            draft("yard", yard(), dwell_s=600.0),
            end_us=START_US + 1_000_000_000,
        )
        assert [type_ for type_, *_ in told] == ["fence.dwelled", "fence.entered"]


async def test_a_device_found_elsewhere_has_crossed_nothing_on_the_way(database_url: str) -> None:
    async with Rig(database_url) as rig:
        # Three fixes that agree: it is there, and how it came is unknown.
        story = [at("truck", 0, 0), *[at("truck", i, 90_000 + i) for i in (1, 2, 3, 60)]]
        assert await both(rig, [story], draft("yard", yard(45_000))) == []


async def test_devices_far_from_the_fences_are_not_folded(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(*[drive(f"far-{i}", 0, 90_000, n=50) for i in range(5)])
        way = [at("truck", 10 * i, -90_000 + 100 * i) for i in range(1_000)]
        await rig.feed(*[way[i : i + 50] for i in range(0, 1_000, 50)])
        told, summary = await foreseen(rig, draft("yard", yard()))
        assert [(type_, subject) for type_, subject, *_ in told] == [
            ("fence.entered", "truck"),
            ("fence.exited", "truck"),
        ]
        assert summary.devices == 6
        # From the last checkpoint before it came near until it had left.
        assert 0 < summary.fixes < 350


async def test_only_the_devices_asked_for_and_meant_are_looked_at(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(*[drive(name, 0, 0, n=40) for name in ("a", "b", "c")])
        await rig.conn.execute("UPDATE device SET groups = '{north}' WHERE name <> 'c'")
        yard_ = draft("yard", yard(), applies_to=Audience(groups=("north",)))
        told, summary = await foreseen(rig, yard_)
        assert {subject for _, subject, *_ in told} == {"a", "b"}
        told, summary = await foreseen(rig, yard_, devices=("b", "c", "nobody"))
        assert {subject for _, subject, *_ in told} == {"b"}
        assert summary.devices == 1
        assert summary.notes == ["there is no device 'nobody'"]


async def test_a_layer_is_previewed_with_its_neighbours(database_url: str) -> None:
    def zone(id_: str, west_m: float, east_m: float, **options: Any) -> FenceDraft:  # noqa: ANN401
        west, east = LON + west_m * EAST, LON + east_m * EAST
        return draft(id_, box(west, LAT - 0.01, east, LAT + 0.01), layer="zones", **options)

    async with Rig(database_url) as rig:
        await rig.save(zone("a", 0, 1_000), zone("b", 1_000, 2_000))
        await rig.feed(drive("truck", 0, 500, n=60))
        # The zone between is widened at both neighbours' cost.
        middle = zone("b", 800, 2_300)
        told, _ = await foreseen(rig, middle, start_us=START_US + 10_000_000)
        await rig.save(replace(middle, effective_from_us=START_US + 10_000_000))
        await rig.repair()
        assert told == await raised(rig, "b", start_us=START_US + 10_000_000)
        assert [type_ for type_, *_ in told] == ["fence.entered", "fence.exited"]


async def test_what_cannot_be_saved_so_is_previewed_with_a_note(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.feed(drive("truck", 0, 0, n=40))
        await rig.save(draft("yard", yard(), from_us=START_US + 10**9))
        told, summary = await foreseen(rig, draft("yard", yard(radius_m=400)))
        assert [type_ for type_, *_ in told] == ["fence.entered", "fence.exited"]
        (note,) = summary.notes
        assert note.startswith(f"yard: version 1 starts at {iso(START_US + 10**9)}, so it cannot")


async def test_a_fence_previewed_as_it_is_stored_tells_what_it_has_told(database_url: str) -> None:
    async with Rig(database_url) as rig:
        await rig.save(draft("yard", yard(), dwell_s=60.0))
        await rig.feed(drive("truck", 0, 0, n=40))
        told, summary = await foreseen(rig, draft("yard", yard(), dwell_s=60.0))
        assert len(told) == 3
        assert told == await raised(rig, "yard")
        assert summary.notes == ["yard: it is version 1 as stored"]


async def test_a_preview_writes_nothing_and_could_not(database_url: str) -> None:
    async with Rig(database_url) as rig, await connect(database_url, name="preview") as conn:
        await rig.feed(drive("truck", 0, 0, n=200))
        tables = "SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM event), feed_cursor, "
        before = await rig.rows(tables + "fence_revision FROM tenant")
        question = Question("default", 1, [draft("yard", yard())], START_US, NOW_US)
        prepared = await Preview.prepare(conn, question, Rules())
        items = [item async for item in prepared.run()]
        assert isinstance(items[0], Progress)
        assert isinstance(items[-1], Summary)
        assert await rig.rows(tables + "fence_revision FROM tenant") == before
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await conn.execute("DELETE FROM repair")


@pytest.mark.parametrize(
    ("drafts", "start_us", "field"),
    [
        ([], START_US, "fences"),
        ([draft("a", yard()), draft("a", yard())], START_US, "fences[1].id"),
        ([draft("a", yard())], NOW_US, "start"),
    ],
    ids=["no-fence", "an-id-twice", "no-time"],
)
async def test_questions_without_an_answer_are_refused_by_name(
    database_url: str, drafts: list[FenceDraft], start_us: int, field: str
) -> None:
    async with Rig(database_url) as rig:
        with pytest.raises(InputError) as refused:
            await foreseen(rig, *drafts, start_us=start_us)
        assert refused.value.field == field
