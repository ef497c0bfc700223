"""One request to a webhook: what may go wrong on the wire, and what is kept of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from deliver.sender import Sender
from tests.integration.test_webhooks_ssrf import HALF_OPEN, LETTER, SECRETS
from tracking.webhooks import Webhook

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def wire(talk: Talk) -> AsyncIterator[Webhook]:
    """A webhook to a server that says on the wire whatever it likes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Webhook("w", url=f"http://127.0.0.1:{port}/")
    finally:
        server.close()


async def request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))


async def test_a_connection_that_ends_as_it_is_used_again_is_no_fault_of_the_target() -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        # The second request arrives, and nobody is there any more.
        await request(reader)

    async with wire(talk) as hook, Sender(HALF_OPEN) as sender:
        assert (await sender.send(hook, SECRETS, LETTER)).ok
        assert (await sender.send(hook, SECRETS, LETTER)).ok
        assert connections == 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
async def test_an_answer_that_does_not_end_in_time_is_none(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(said)
        # Until the other side has had enough.
        await reader.read()

    async with wire(talk) as hook, Sender(HALF_OPEN, timeout_s=0.2) as sender:
        outcome = await sender.send(hook, SECRETS, LETTER)
    assert not outcome.ok
    assert outcome.error == "no answer within 0.2 s"
    assert outcome.latency_ms >= 190


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 999 \xff\xfe\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"",
    ],
)
async def test_an_answer_that_is_no_http_is_told_in_printable_words(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(said)
        await writer.drain()

    async with wire(talk) as hook, Sender(HALF_OPEN) as sender:
        outcome = await sender.send(hook, SECRETS, LETTER)
    assert not outcome.ok
    assert outcome.error or outcome.status
    assert (outcome.error or "").isprintable() or "\n" in (outcome.error or "")
    assert len(outcome.error or "") <= 512


async def test_a_bomb_stays_packed() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x08"
        )
        await writer.drain()

    async with wire(talk) as hook, Sender(HALF_OPEN) as sender:
        outcome = await sender.send(hook, SECRETS, LETTER)
    assert outcome.ok
    assert outcome.response == "\ufffd\ufffd\ufffd"


async def test_a_huge_answer_is_read_in_part_and_kept_printable() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 500000000\r\n\r\n\x00\xff<b>")
        # Until the other side has had enough.
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()

    async with wire(talk) as hook, Sender(HALF_OPEN) as sender:
        outcome = await sender.send(hook, SECRETS, LETTER)
    assert outcome.status == 500
    assert outcome.response == "\ufffd\ufffd<b>" + "x" * 507
