"""Batches by count and age."""

import asyncio

from ingest.inbox import Inbox
from ingest.mqtt import Message


def messages(first: int, n: int) -> list[Message]:
    return [Message(b"t", str(i).encode(), i, 0) for i in range(first, first + n)]


def numbers(batch: list[Message]) -> list[int]:
    return [message.ticket for message in batch]


async def test_messages_leave_in_order_and_in_batches_of_at_most_the_size() -> None:
    inbox = Inbox(batch_max=10, batch_age_s=0)
    inbox.put(messages(0, 7))
    inbox.put(messages(7, 18))
    taken = [await inbox.take() for _ in range(3)]
    assert [len(batch) for batch in taken] == [10, 10, 5]
    assert [n for batch in taken for n in numbers(batch)] == list(range(25))
    assert len(inbox) == 0


async def test_a_batch_waits_until_its_first_message_is_old_enough() -> None:
    inbox = Inbox(batch_max=10, batch_age_s=0.05)
    loop = asyncio.get_running_loop()
    inbox.put(messages(0, 1))
    put_s = loop.time()
    loop.call_later(0.01, inbox.put, messages(1, 1))
    assert numbers(await inbox.take()) == [0, 1]
    assert loop.time() - put_s >= 0.049


async def test_a_full_batch_does_not_wait() -> None:
    inbox = Inbox(batch_max=10, batch_age_s=3_600)
    asyncio.get_running_loop().call_later(0.01, inbox.put, messages(0, 10))
    async with asyncio.timeout(5):
        assert len(await inbox.take()) == 10


async def test_what_aged_while_a_batch_was_stored_waits_no_longer() -> None:
    inbox = Inbox(batch_max=2, batch_age_s=0.02)
    inbox.put(messages(0, 3))
    await inbox.take()
    async with asyncio.timeout(5):
        assert numbers(await inbox.take()) == [2]


async def test_nothing_arriving_is_an_empty_batch_after_the_wait() -> None:
    assert await Inbox(batch_max=2, batch_age_s=0).take(wait_s=0.01) == []
