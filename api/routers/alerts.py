"""Alerts: read, and acted on."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Many, Page, Refusal, answer, paged
from api.conventions.cursors import number_cursor, read_number_cursor
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import alerts as examples
from api.examples.fleet import page_of
from api.identity.auth import Caller, Writer
from api.schemas.alerts import (
    MAX_AT_ONCE,
    AcknowledgeInput,
    AlertQuery,
    NoteInput,
    SnoozeInput,
    note_of,
    snooze_us,
)
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery, Selected, check_range
from api.services import Services, services_of
from tracking.access import Principal
from tracking.alert_life import Act, AlertView, alert_view, announcements
from tracking.store.alerts import Acted, AlertFilter, Tenant, act_on, get_alert, list_alerts

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])


def _act_documented(operation_id: str) -> dict[str, Any]:
    return documented(
        operation_id,
        AlertView,
        example=examples.ALERT,
        body=NoteInput,
        body_example=examples.NOTE_INPUT,
        body_required=False,
        problems=[409],
    )


@router.get("", **documented("listAlerts", Page[AlertView], example=page_of(examples.ALERT)))
async def alerts(
    request: Request, caller: Caller, query: Annotated[AlertQuery, Query()]
) -> Response:
    """Alerts, the latest raised first; events that were kept silent only if asked for."""
    check_range(query.start, query.end)
    wanted = AlertFilter(
        states=None if query.state is None else tuple(query.state),
        severities=None if query.severity is None else tuple(query.severity),
        rule=query.rule,
        device=query.device,
        fence=query.fence,
        event=query.event,
        start=query.start,
        end=query.end,
    )
    found = await services_of(request).pool.run(
        list_alerts,
        caller.tenant_id,
        wanted,
        before=read_number_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(
        found,
        query.limit,
        lambda last: number_cursor(last.number),
        lambda item: alert_view(item.alert),
    )


@router.post(
    "/acknowledge",
    **documented(
        "acknowledgeAlerts",
        Many[AlertView],
        example=examples.ALERTS_ACKNOWLEDGED,
        body=AcknowledgeInput,
        body_example=examples.ACKNOWLEDGE_INPUT,
    ),
)
async def acknowledge_all(
    request: Request, caller: Writer, _: Annotated[NoQuery, Query()]
) -> Response:
    """Take up up to 1,000 alerts, by id or by what they are about; those that cannot be say why."""
    given = decoded(await request.body(), AcknowledgeInput)
    services = services_of(request)
    about = (given.rule, given.device, given.fence, given.severity)
    if (given.ids is None) is not any(about):
        raise Problem(422, "give ids, or one of rule, device, fence, severity", field="ids")
    ids = given.ids
    if ids is None:
        severities = None if given.severity is None else (given.severity,)
        wanted = AlertFilter(("open", "escalated"), severities, *about[:3])
        found = await services.pool.run(
            list_alerts, caller.tenant_id, wanted, before=None, limit=MAX_AT_ONCE
        )
        ids = [item.alert.id for item in found]
    done = await _act(
        services, caller, ids, lambda now_us: Act("acknowledge", caller.name, now_us, given.note)
    )
    missing = set(ids) - {alert.id for alert in done.alerts} - set(done.refused)
    refused = done.refused | dict.fromkeys(missing, "there is no such alert")
    return answer(
        Many(
            [alert_view(alert) for alert in done.alerts],
            [Refusal(str(id_), refused[id_]) for id_ in ids if id_ in refused],
        )
    )


@router.get("/{id}", **documented("getAlert", AlertView, example=examples.ALERT))
async def alert(
    request: Request,
    caller: Caller,
    id: UUID,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[Selected, Query()],
) -> Response:
    """One alert, or one event that was kept silent."""
    found = await services_of(request).pool.run(get_alert, caller.tenant_id, id)
    if found is None:
        raise not_found(f"alert {id}")
    return answer(alert_view(found))


@router.post("/{id}/acknowledge", **_act_documented("acknowledgeAlert"))
async def acknowledge(
    request: Request,
    caller: Writer,
    id: UUID,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Take an alert up: it no longer escalates."""
    note = note_of(await request.body())
    return await _one(
        request, caller, id, lambda now_us: Act("acknowledge", caller.name, now_us, note)
    )


@router.post(
    "/{id}/snooze",
    **documented(
        "snoozeAlert",
        AlertView,
        example=examples.ALERT,
        body=SnoozeInput,
        body_example=examples.SNOOZE_INPUT,
        problems=[409],
    ),
)
async def snooze(
    request: Request,
    caller: Writer,
    id: UUID,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Put an alert aside `until` a time, or `for_s` seconds; then it opens again."""
    given = decoded(await request.body(), SnoozeInput)
    return await _one(
        request,
        caller,
        id,
        lambda now_us: Act("snooze", caller.name, now_us, given.note, snooze_us(given, now_us)),
    )


@router.post("/{id}/resolve", **_act_documented("resolveAlert"))
async def resolve(
    request: Request,
    caller: Writer,
    id: UUID,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """End an alert."""
    note = note_of(await request.body())
    return await _one(request, caller, id, lambda now_us: Act("resolve", caller.name, now_us, note))


@router.post("/{id}/reopen", **_act_documented("reopenAlert"))
async def reopen(
    request: Request,
    caller: Writer,
    id: UUID,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Open an alert again, as if nobody had seen it."""
    note = note_of(await request.body())
    return await _one(request, caller, id, lambda now_us: Act("reopen", caller.name, now_us, note))


async def _one(
    request: Request, caller: Principal, id_: UUID, deed: Callable[[int], Act]
) -> Response:
    done = await _act(services_of(request), caller, [id_], deed)
    if id_ in done.refused:
        raise Problem(409, done.refused[id_])
    if not done.alerts:
        raise not_found(f"alert {id_}")
    return answer(alert_view(done.alerts[0]))


async def _act(
    services: Services, caller: Principal, ids: Iterable[UUID], deed: Callable[[int], Act]
) -> Acted:
    tenant = Tenant(caller.tenant, caller.tenant_id)
    done = await services.pool.run(act_on, tenant, ids, deed)
    await services.publisher.publish(announcements(tenant.name, done.changed, done.records))
    return done
