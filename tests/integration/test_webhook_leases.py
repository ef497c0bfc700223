"""Who holds a target, and whose writes count: the promises two deliverers live by."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from deliver.line import DOWN_AFTER
from tests.integration.api_site import Rows
from tracking.store.connection import Connection, connect
from tracking.store.dispatch import (
    Held,
    Progress,
    StoredHead,
    Taken,
    release,
    renew,
    take,
    write_progress,
)
from tracking.store.webhooks import create_webhook
from tracking.webhooks import Webhook

ONE, OTHER = uuid4(), uuid4()


@asynccontextmanager
async def hooked(database_url: str, n: int = 1) -> AsyncIterator[tuple[Connection, Rows]]:
    """`n` targets with an event before them."""
    async with await connect(database_url, name="test") as conn:
        for number in range(n):
            made = await create_webhook(
                conn, 1, Webhook(f"w{number}", url="https://a.example/"), b"", enabled=True,
                author="test",
            )  # fmt: skip
            assert made is not None
        with Rows(database_url) as rows:
            rows.event("van-7")
            yield conn, rows


async def taken_by(conn: Connection, lease: UUID, limit: int = 100) -> list[Taken]:
    return await take(conn, lease, limit, down_after=DOWN_AFTER)


def progress(taken: Taken, cursor: int, **more: Any) -> Progress:  # noqa: ANN401 -- its members
    members: dict[str, Any] = {
        "due_us": None, "failures": 0, "failing_since_us": None, "last_success_us": None,
        "last_failure": None, "notes": [], "superseded": [], "heads": [], "rejoined": [],
    }  # fmt: skip
    return Progress(taken=taken, cursor=cursor, **(members | more))


async def test_a_target_has_one_holder_until_it_lets_go(database_url: str) -> None:
    async with hooked(database_url, 3) as (conn, _):
        mine = await taken_by(conn, ONE, 2)
        assert len(mine) == 2
        theirs = await taken_by(conn, OTHER)
        assert len(theirs) == 1
        assert {one.number for one in mine}.isdisjoint({one.number for one in theirs})
        await release(conn, OTHER, [one.number for one in mine])
        assert await taken_by(conn, OTHER) == []
        await release(conn, ONE, [one.number for one in mine])
        assert len(await taken_by(conn, OTHER)) == 2


async def test_a_lease_that_ran_out_is_anybodys_and_the_late_holder_writes_nothing(
    database_url: str,
) -> None:
    async with hooked(database_url) as (conn, rows):
        [mine] = await taken_by(conn, ONE)
        rows.execute("UPDATE webhook_progress SET lease_until = now() - interval '1 s'")
        # Its holder works it still: it must not be opened a second time.
        assert await taken_by(conn, ONE) == []
        [theirs] = await taken_by(conn, OTHER)
        assert theirs.cursor == 0
        head = StoredHead("van-7", 0, "m", 1, 1, 1)
        assert await write_progress(conn, ONE, [progress(mine, 1, heads=[head])]) == (set(), [])
        assert await renew(conn, ONE) == {}
        assert await renew(conn, OTHER) == {theirs.number: Held(theirs.epoch, theirs.nudge)}
        assert await write_progress(conn, OTHER, [progress(theirs, 1)]) == ({theirs.number}, [])
        await release(conn, OTHER, [theirs.number])
        assert await taken_by(conn, OTHER) == [], "everything is looked at"


async def test_whoever_moves_the_cursor_outdates_the_holder(database_url: str) -> None:
    async with hooked(database_url) as (conn, rows):
        [mine] = await taken_by(conn, ONE)
        rows.execute("UPDATE webhook_progress SET epoch = epoch + 1, cursor = 0")
        assert await write_progress(conn, ONE, [progress(mine, 1)]) == (set(), [])


async def test_what_is_asked_for_stays_due_though_the_holder_writes(database_url: str) -> None:
    async with hooked(database_url) as (conn, rows):
        [mine] = await taken_by(conn, ONE)
        rows.execute("UPDATE webhook_progress SET nudge = nudge + 1, due_at = now()")
        ours, _ = await write_progress(conn, ONE, [progress(mine, 1)])
        assert ours == {mine.number}
        await release(conn, ONE, [mine.number])
        assert len(await taken_by(conn, ONE)) == 1


async def test_a_target_that_is_down_is_taken_when_its_retry_is_due(database_url: str) -> None:
    async with hooked(database_url) as (conn, rows):
        [mine] = await taken_by(conn, ONE)
        far_us = 4_000_000_000_000_000
        await write_progress(conn, ONE, [progress(mine, 0, failures=DOWN_AFTER, due_us=far_us)])
        await release(conn, ONE, [mine.number])
        assert await taken_by(conn, ONE) == []
        rows.execute("UPDATE webhook_progress SET due_at = now()")
        assert [one.failures for one in await taken_by(conn, ONE)] == [DOWN_AFTER]


async def test_a_disabled_target_is_nobodys(database_url: str) -> None:
    async with hooked(database_url) as (conn, rows):
        [mine] = await taken_by(conn, ONE)
        rows.execute("UPDATE webhook SET enabled = false")
        assert await renew(conn, ONE) == {}
        await release(conn, ONE, [mine.number])
        assert await taken_by(conn, ONE) == []
