"""Preview on a real database: it tells what live processing tells once the fences are saved."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.mqtt import Message
from tests.integration.ingest_rig import NOW_US, START_US, Rig, draft
from tests.integration.test_fences_live import at, box, clear, drive, fences_of, yard
from tests.integration.test_pipeline import day_of, shuffled
from tracking.feed import EventRecord
from tracking.fences import FenceDraft
from tracking.fold import Rules
from tracking.preview import Preview, Progress, Question, Summary
from tracking.store.connection import connect
from tracking.store.registry import tenant_ids
from tracking.times import iso

Told = tuple[str, str, str, str, Any]

DAY_US = 86_400_000_000


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
    rig: Rig, messages: Sequence[Sequence[Message]], *drafts: FenceDraft, **window: int
) -> list[Told]:
    """Preview over history without the fences; then the same history with them."""
    await rig.feed(*messages)
    await rig.repair()
    told, _ = await foreseen(rig, *drafts, **window)
    await clear(rig)
    await rig.save(*drafts)
    await rig.feed(*messages)
    await rig.repair()
    assert told == await raised(rig, *[d.id for d in drafts], **window)
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
