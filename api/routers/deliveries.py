"""What webhooks and channels were sent: read, tested, and asked for again. For admins."""

import uuid
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import webhooks as examples
from api.examples.fleet import page_of
from api.identity.auth import Admin
from api.routers.webhooks import WebhookId, notify_deliverers, stored_webhook
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery
from api.schemas.webhooks import (
    Asked,
    DeliveryQuery,
    DeliveryView,
    Replaying,
    ReplayInput,
    delivery_view,
)
from api.services import services_of
from tracking.feed import EventRecord
from tracking.store.deliveries import (
    DeliveryFilter,
    ask_for_test,
    get_delivery,
    list_deliveries,
    replay_deliveries,
)
from tracking.store.webhooks import StoredWebhook, move_cursor
from tracking.times import to_us
from tracking.webhooks import TEST

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

DeliveryId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The delivery's number")]


@router.post("/{id}/test", **documented("testWebhook", Asked, example=examples.ASKED, status=202))
async def test(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Have a `webhook.test` event sent once; the delivery tells how it went."""
    services = services_of(request)
    stored = await stored_webhook(request, caller, id)
    _must_be_enabled(stored)
    now_us = to_us(datetime.now(UTC))
    event = EventRecord(
        str(uuid.uuid4()), caller.tenant, TEST, id, now_us, now_us, 1, "active", late=False,
        cursor=0, data={"webhook": id},
    )  # fmt: skip
    number = await services.pool.run(ask_for_test, caller.tenant_id, stored, event)
    await notify_deliverers(services, caller)
    return _accepted(Asked([number]))


@router.get(
    "/{id}/deliveries",
    **documented("listWebhookDeliveries", Page[DeliveryView], example=page_of(examples.DELIVERY)),
)
async def deliveries(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    query: Annotated[DeliveryQuery, Query()],
) -> Response:
    """What became of each message, the newest first; `state=dead` are the dead letters."""
    stored = await stored_webhook(request, caller, id)
    wanted = DeliveryFilter(query.state, query.event, query.type, query.subject)
    found = await services_of(request).pool.run(
        list_deliveries,
        stored.number,
        wanted,
        before=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: number_cursor(last.number), delivery_view)


@router.get(
    "/{id}/deliveries/{number}",
    **documented("getWebhookDelivery", DeliveryView, example=examples.DELIVERY),
)
async def delivery(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    number: DeliveryId,
    _: Annotated[NoQuery, Query()],
) -> Response:
    """One delivery."""
    stored = await stored_webhook(request, caller, id)
    found = await services_of(request).pool.run(get_delivery, stored.number, number)
    if found is None:
        raise not_found(f"delivery {number}")
    return answer(delivery_view(found))


@router.post(
    "/{id}/deliveries/{number}/replay",
    **documented(
        "replayWebhookDelivery", Asked, example=examples.ASKED, status=202, problems=[409]
    ),
)
async def replay_one(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    number: DeliveryId,
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Send an event again as it is now, beside the order of its subject."""
    services = services_of(request)
    stored = await stored_webhook(request, caller, id)
    _must_be_enabled(stored)
    if await services.pool.run(get_delivery, stored.number, number) is None:
        raise not_found(f"delivery {number}")
    asked = await services.pool.run(replay_deliveries, stored, number=number)
    if not asked:
        raise Problem(409, "it is being retried already, or is no event of the log")
    await notify_deliverers(services, caller)
    return _accepted(Asked(asked))


@router.post(
    "/{id}/dead-letters/replay",
    **documented("replayWebhookDeadLetters", Asked, example=examples.ASKED, status=202),
)
async def replay_dead(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Send every dead letter again, each as its event is now."""
    services = services_of(request)
    stored = await stored_webhook(request, caller, id)
    _must_be_enabled(stored)
    asked = await services.pool.run(replay_deliveries, stored)
    await notify_deliverers(services, caller)
    return _accepted(Asked(asked))


@router.post(
    "/{id}/replay",
    **documented(
        "replayWebhook",
        Replaying,
        example=examples.REPLAYING,
        status=202,
        body=ReplayInput,
        body_example=examples.REPLAY,
    ),
)
async def replay(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Deliver every event since a cursor or a time again, in order; or skip to there."""
    services = services_of(request)
    given = decoded(await request.body(), ReplayInput)
    stored = await stored_webhook(request, caller, id)
    cursor = await services.pool.run(move_cursor, caller.tenant_id, stored, since=given.since)
    if cursor is None:
        raise Problem(422, "it is ahead of every event", field="since")
    await notify_deliverers(services, caller)
    return _accepted(Replaying(cursor))


def _must_be_enabled(stored: StoredWebhook) -> None:
    if not stored.enabled:
        raise Problem(409, "it is disabled: enable it first")


def _accepted(body: object) -> Response:
    response = answer(body)
    response.status_code = 202
    return response
