"""Hands out histories: a snapshot of the database for each, and a bounded number of them."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

import msgspec
from fastapi import Request, Response

from api.conventions.problems import Problem, details
from api.conventions.streamed import Streamed
from api.exports.batches import Batch, Kinds
from api.exports.formats import FORMATS, Gzipped, Writer
from tracking.access import Principal
from tracking.errors import SchemaOutdated, StoreError, StoreUnavailable
from tracking.store.acting import current_mandate, lock_down, settle
from tracking.store.audit import record
from tracking.store.connection import Connection, connect, hold_snapshot, translated

# Each holds a connection of its own, and keeps a core busy while its client reads.
AT_ONCE = 8
AT_ONCE_PER_TENANT = 2
_RETRY_AFTER_S = "5"

Rows = Callable[[Connection], AsyncGenerator[Batch, None]]


@dataclass(frozen=True, slots=True)
class File:
    """What is asked for: rows of one kind in one format, and what the audit log is to say."""

    noun: str
    kinds: Kinds
    format: str
    key: str
    asked: Mapping[str, object]

    @property
    def name(self) -> str:
        """What the file is called where it arrives."""
        stem = self.noun if self.key == "*" else f"{self.noun}-{self.key}"
        return re.sub(r"[^A-Za-z0-9._-]", "_", stem) + f".{self.format}"


class ExportDesk:
    """Counts who is being served. One per process; `answer` is its only way in."""

    def __init__(
        self, database_url: str, *, at_once: int = AT_ONCE, per_tenant: int = AT_ONCE_PER_TENANT
    ) -> None:
        self._database_url = database_url
        self._at_once = at_once
        self._per_tenant = per_tenant
        self._running: Counter[int] = Counter()

    async def answer(self, request: Request, caller: Principal, file: File, rows: Rows) -> Response:
        """Stream `rows` as a file.

        What goes wrong before the first rows is a problem as everywhere. What goes wrong later
        breaks the transfer off before its end, which every client sees; lines of JSON then end
        with one that says why. A client that leaves ends the query too.

        Raises:
            Problem: 429, too many are running.
            StoreUnavailable: the database is away.
        """
        format_ = FORMATS[file.format]
        squeeze = not format_.packed and _accepts_gzip(request)
        async with AsyncExitStack() as stack:
            conn = await stack.enter_async_context(self._snapshot(caller, file))
            # Some libraries take a while to load.
            writer = await asyncio.to_thread(format_.writer, file.kinds)
            pieces = _pieces(rows(conn), Gzipped(writer) if squeeze else writer)
            if file.format == "ndjson":
                pieces = _explained(pieces, request)
            stack.push_async_callback(pieces.aclose)
            first = await _unless_gone(request, pieces)
            if first is None:
                # As nginx writes it; nobody reads it.
                return Response(status_code=499)
            return Streamed(
                _chain(first, pieces),
                stack.pop_all(),
                media_type=format_.media_type,
                headers={
                    "Content-Disposition": f'attachment; filename="{file.name}"',
                    "Vary": "Accept, Accept-Encoding",
                    **({"Content-Encoding": "gzip"} if squeeze else {}),
                },
            )

    @asynccontextmanager
    async def _snapshot(self, caller: Principal, file: File) -> AsyncIterator[Connection]:
        with_them = self._running[caller.tenant_id]
        if with_them >= self._per_tenant or self._running.total() >= self._at_once:
            raise Problem(
                429,
                f"{with_them} exports of yours are running: try again when one is done",
                headers={"Retry-After": _RETRY_AFTER_S},
            )
        self._running[caller.tenant_id] += 1
        try:
            conn = await connect(self._database_url, name="waymark-export")
        except SchemaOutdated as exc:
            raise StoreUnavailable(str(exc)) from exc
        else:
            try:
                with translated():
                    await lock_down(conn)
                    await settle(conn, current_mandate())
                    await record(conn, "export", file.noun, file.key, file.asked)
                    await hold_snapshot(conn)
                yield conn
            finally:
                await conn.close()
        finally:
            self._running[caller.tenant_id] -= 1


async def _pieces(
    batches: AsyncGenerator[Batch, None], writer: Writer
) -> AsyncGenerator[bytes, None]:
    """The file; its first piece has the first rows in it, or it has none."""
    head = writer.start()
    # What makes the bytes is beside the event loop, which requests and the feed share.
    async with aclosing(batches):
        with translated():
            async for batch in batches:
                made = head + await asyncio.to_thread(writer.add, batch)
                head = b""
                if made:
                    yield made
    yield head + await asyncio.to_thread(writer.end)


async def _explained(
    pieces: AsyncGenerator[bytes, None], request: Request
) -> AsyncGenerator[bytes, None]:
    """Lines, whose last says why there are no more when that is so."""
    begun = False
    try:
        async for piece in pieces:
            yield piece
            begun = True
    except StoreError as exc:
        if begun:
            told = details(503, str(exc), request.state.request_id)
            yield msgspec.json.encode({"error": told}) + b"\n"
        raise


async def _unless_gone(request: Request, pieces: AsyncGenerator[bytes, None]) -> bytes | None:
    """The first piece, None when the client leaves before: nobody else looks until it is there."""

    async def first() -> bytes:
        return await anext(pieces)

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    making, leaving = asyncio.create_task(first()), asyncio.create_task(gone())
    try:
        await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return making.result() if making.done() else None
    finally:
        for task in (making, leaving):
            task.cancel()
        await asyncio.gather(making, leaving, return_exceptions=True)


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _accepts_gzip(request: Request) -> bool:
    given = request.headers.get("accept-encoding", "")
    return any(
        part.split(";")[0].strip() == "gzip" and "q=0" not in part.replace(" ", "").split(";")[1:]
        for part in given.split(",")
    )
