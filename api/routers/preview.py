"""Previews: what fences would have raised over a past window, told while it is found."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.conventions.problems import Problem
from api.conventions.streamed import Streamed
from api.document.route import NDJSON, documented
from api.examples import fences as examples
from api.identity.auth import Caller
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery
from api.schemas.preview import Broken, PreviewInput, PreviewLine, PreviewSchema
from api.services import services_of
from tracking.access import Principal
from tracking.errors import InputError, SchemaOutdated, StoreUnavailable, WaymarkError
from tracking.feed import EventRecord, cloud_event
from tracking.fence_input import read_fence
from tracking.fences import FenceDraft
from tracking.fold import Rules
from tracking.preview import Preview, Progress, Question, new_id
from tracking.settings import Settings
from tracking.store.acting import current_mandate, lock_down, settle
from tracking.store.connection import connect, end_with_client, translated
from tracking.times import to_us

# A preview of much history keeps one core busy, which the feed shares.
AT_ONCE = 2
_RETRY_AFTER_S = "5"
# Events are sent in portions of this size: one by one each costs as much as finding it.
_PORTION_BYTES = 32_768

_encoder = msgspec.json.Encoder()


def preview_routes(at_once: int = AT_ONCE) -> APIRouter:
    """The routes of one process, which answers so many previews at a time."""
    router = APIRouter(prefix="/v1/fences", tags=["fences"])
    running = asyncio.Semaphore(at_once)

    @router.post(
        "/preview",
        **documented(
            "previewFences",
            PreviewLine,
            example=examples.PREVIEW_LINE,
            media_type=NDJSON,
            body=PreviewSchema,
            body_example=examples.PREVIEW_INPUT,
            problems=[429],
        ),
    )
    async def preview(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
        """Say what these fences would have raised in [start, end), new ones or edits by id.

        Nothing is saved. The answer is lines of JSON: `progress` now and then, each `event` as it
        is found, and at last the `summary`; an `error` ends it early. Saved with `effective_from`
        at `start`, the same fences raise the same events under the same ids.
        """
        asked = decoded(await request.body(), PreviewInput)
        # Beside the event loop, which other requests and the feed share.
        question = await asyncio.to_thread(_question, caller, asked)
        if running.locked():
            raise Problem(
                429,
                f"{at_once} previews are running: try again when one is done",
                headers={"Retry-After": _RETRY_AFTER_S},
            )
        async with AsyncExitStack() as stack:
            # It is not locked, so nothing is waited for, and nobody comes in between.
            await running.acquire()
            stack.callback(running.release)
            prepared = await _prepared(stack, services_of(request).settings, question)
            return Streamed(_lines(prepared), stack.pop_all(), media_type=NDJSON)

    return router


def _question(caller: Principal, asked: PreviewInput) -> Question:
    end = datetime.now(UTC) if asked.end is None else asked.end
    return Question(
        tenant=caller.tenant,
        tenant_id=caller.tenant_id,
        drafts=_drafts(asked),
        start_us=to_us(asked.start),
        end_us=to_us(end),
        devices=None if asked.devices is None else tuple(asked.devices),
    )


def _drafts(asked: PreviewInput) -> list[FenceDraft]:
    alone = bytes(asked.fence) not in {b"", b"null"}
    if alone == (asked.fences is not None):
        raise InputError("fence: give either `fence` or `fences`", field="fence")
    if alone:
        return [read_fence(asked.fence, fallback_id=new_id(), where="fence")]
    return [
        read_fence(raw, fallback_id=new_id(), where=f"fences[{i}]")
        for i, raw in enumerate(asked.fences or ())
    ]


async def _prepared(stack: AsyncExitStack, settings: Settings, question: Question) -> Preview:
    try:
        # Not one of the pool's: it is in use for as long as the answer takes.
        conn = await connect(settings.database_url.get_secret_value(), name="waymark-preview")
    except SchemaOutdated as exc:
        raise StoreUnavailable(str(exc)) from exc
    stack.push_async_callback(conn.close)
    with translated():
        # Whoever goes away may leave a query that waits for a lock.
        await end_with_client(conn)
        await lock_down(conn)
        await settle(conn, current_mandate())
    return await Preview.prepare(conn, question, Rules(max_speed_mps=settings.max_speed_mps))


async def _lines(prepared: Preview) -> AsyncIterator[bytes]:
    """The answer in portions of whole lines."""
    portion = bytearray()
    try:
        async for item in prepared.run():
            if isinstance(item, EventRecord):
                portion += _line(PreviewLine(event=cloud_event(item)))
                if len(portion) < _PORTION_BYTES:
                    continue
            elif isinstance(item, Progress):
                portion += _line(PreviewLine(progress=item))
            else:
                portion += _line(PreviewLine(summary=item))
            yield bytes(portion)
            portion.clear()
    except WaymarkError as exc:
        # The status is long sent: this line says that the answer is not whole.
        yield bytes(portion) + _line(PreviewLine(error=Broken(str(exc))))


def _line(line: PreviewLine) -> bytes:
    return _encoder.encode(line) + b"\n"
