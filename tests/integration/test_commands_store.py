"""Commands in the database: whose they are to send, and what overtakes what."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from tests.integration.api_site import Rows
from tracking.commands import Downlink, Word
from tracking.errors import Conflict
from tracking.store.commands import (
    Answer,
    NewCommand,
    cancel_command,
    downlinks_sent,
    downlinks_unsent,
    elapse_commands,
    get_command,
    queue_command,
    settle_answers,
    take_downlinks,
)
from tracking.store.connection import Connection, connect
from tracking.store.eventlog import Device, write_events
from tracking.times import to_us


class Desk:
    """One device with commands, and the connections of two workers."""

    def __init__(self, conn: Connection, other: Connection, device: Device) -> None:
        self.conn = conn
        self.other = other
        self.device = device

    async def queue(self, name: str = "blink") -> UUID:
        new = NewCommand(uuid4(), name, b"null", "test", timeout_s=60, ttl_s=60)
        done = await queue_command(
            self.conn, (self.device.tenant_id, self.device.tenant), self.device.name, new
        )
        assert done is not None
        return new.id

    async def take(self, conn: Connection | None = None) -> list[UUID]:
        taken: list[Downlink] = await take_downlinks(conn or self.conn, 10)
        return [downlink.id for downlink in taken]

    async def answer(self, id_: UUID, word: Word) -> list[str]:
        async with self.conn.transaction():
            cursor = await self.conn.execute("SELECT now()")
            ((now,),) = await cursor.fetchall()
            answers = [Answer(self.device, id_, word, None, to_us(now))]
            occurrences, unknown = await settle_answers(self.conn, answers)
            await write_events(self.conn, occurrences)
        return ["unknown"] if unknown else [one.type for one in occurrences]

    async def state(self, id_: UUID) -> str:
        found = await get_command(self.conn, self.device.tenant_id, self.device.name, id_)
        assert found is not None
        return found.state

    async def age(self, column: str) -> None:
        await self.conn.execute(
            f"UPDATE command SET {column} = now() - interval '1 s' WHERE {column} IS NOT NULL"  # noqa: S608 -- our own text
        )


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    with Rows(database_url) as rows:
        device = Device("default", rows.tenant_id, "van", rows.device("van"))
    conn = await connect(database_url, name="one")
    other = await connect(database_url, name="two")
    yield Desk(conn, other, device)
    await conn.close()
    await other.close()


async def test_a_taken_command_is_nobody_elses_until_its_lease_is_over(desk: Desk) -> None:
    first, second = await desk.queue(), await desk.queue()
    assert await desk.take() == [first]
    # Neither again nor the one behind it: a device gets them in order.
    assert await desk.take(desk.other) == []
    await desk.age("leased_until")
    assert await desk.take(desk.other) == [first]
    assert [event.type for event in await downlinks_sent(desk.other, [first])] == ["command.sent"]
    assert await desk.take() == [second]
    await downlinks_unsent(desk.conn, [second])
    assert await desk.take(desk.other) == [second]


async def test_a_worker_that_was_given_up_and_comes_back_changes_nothing(desk: Desk) -> None:
    id_ = await desk.queue()
    assert await desk.take() == [id_]
    await desk.age("leased_until")
    assert await desk.take(desk.other) == [id_]
    assert len(await downlinks_sent(desk.other, [id_])) == 1
    assert await downlinks_sent(desk.conn, [id_]) == []
    assert await desk.state(id_) == "sent"


async def test_an_answer_may_overtake_the_note_that_it_was_sent(desk: Desk) -> None:
    id_ = await desk.queue()
    await desk.take()
    assert await desk.answer(id_, "succeeded") == ["command.succeeded"]
    assert await downlinks_sent(desk.conn, [id_]) == []
    assert await desk.state(id_) == "succeeded"
    assert await desk.answer(id_, "failed") == []
    assert await desk.answer(uuid4(), "failed") == ["unknown"]


async def test_one_that_said_delivered_early_still_has_its_time(desk: Desk) -> None:
    id_ = await desk.queue()
    await desk.take()
    assert await desk.answer(id_, "delivered") == ["command.delivered"]
    assert await elapse_commands(desk.conn, 10) == []
    await desk.age("due_at")
    assert [one.type for one in await elapse_commands(desk.conn, 10)] == ["command.timed_out"]
    assert await elapse_commands(desk.other, 10) == []


async def test_what_is_being_sent_neither_expires_nor_is_cancelled(desk: Desk) -> None:
    id_ = await desk.queue()
    await desk.take()
    await desk.age("due_at")
    assert await elapse_commands(desk.conn, 10) == []
    with pytest.raises(Conflict, match="is being sent"):
        await cancel_command(desk.conn, desk.device.tenant_id, "van", id_)
    await downlinks_unsent(desk.conn, [id_])
    assert [one.type for one in await elapse_commands(desk.conn, 10)] == ["command.expired"]
    assert await desk.take() == []
    # The broker had it after all.
    assert await desk.answer(id_, "succeeded") == []
    late = await get_command(desk.conn, desk.device.tenant_id, "van", id_)
    assert late is not None
    assert (late.state, late.answered_at is None) == ("expired", False)


async def test_a_command_another_transaction_holds_is_passed_over_not_waited_for(
    desk: Desk,
) -> None:
    id_ = await desk.queue()
    await desk.take()
    await desk.age("leased_until")
    await desk.age("due_at")
    async with desk.other.transaction():
        await desk.other.execute("SELECT FROM command WHERE id = %s FOR UPDATE", (id_,))
        assert await downlinks_sent(desk.conn, [id_]) == []
        assert await elapse_commands(desk.conn, 10) == []
        assert await desk.take() == []
