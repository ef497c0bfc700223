"""Webhooks and channels: who is told of events, and what became of it. For admins."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import name_cursor, read_name_cursor
from api.conventions.etags import changed_meanwhile, tagged, wanted_versions
from api.conventions.ids import in_path
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import webhooks as examples
from api.examples.fleet import page_of
from api.identity.auth import Admin
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery, Paged
from api.schemas.webhooks import (
    Limits,
    NewSecret,
    RotationInput,
    WebhookInput,
    WebhookMade,
    WebhookPatch,
    WebhookView,
    defined,
    patched,
    webhook_view,
)
from api.services import Services, services_of
from tracking.access import Principal
from tracking.egress import Egress
from tracking.feed import webhooks_notice
from tracking.seal import Seal
from tracking.signing import new_secret
from tracking.store.webhooks import (
    MAX_PER_TENANT,
    StoredWebhook,
    create_webhook,
    delete_webhook,
    get_webhook,
    list_webhooks,
    save_webhook,
)
from tracking.times import to_us
from tracking.webhooks import Secrets, SigningKey, Webhook, sealed, unsealed

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

# The id in a path, of all routes about one.
WebhookId = Annotated[str, in_path("webhook")]


@router.get("", **documented("listWebhooks", Page[WebhookView], example=page_of(examples.WEBHOOK)))
async def webhooks(request: Request, caller: Admin, query: Annotated[Paged, Query()]) -> Response:
    """Webhooks and channels by id, and how each fares."""
    found = await services_of(request).pool.run(
        list_webhooks,
        caller.tenant_id,
        after=read_name_cursor(query.cursor),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: name_cursor(last.webhook.id), webhook_view)


@router.post(
    "",
    **documented(
        "createWebhook",
        WebhookMade,
        example=examples.WEBHOOK_MADE,
        status=201,
        body=WebhookInput,
        body_example=examples.WEBHOOK_INPUT,
        problems=[409],
        headers=["Location", "ETag"],
    ),
)
async def create(request: Request, caller: Admin, _: Annotated[NoQuery, Query()]) -> Response:
    """Make a webhook or channel; it is told of what is recorded from now on.

    The secret of a webhook is shown this once.
    """
    services = services_of(request)
    given = decoded(await request.body(), WebhookInput)
    secret = new_secret() if given.kind == "webhook" else None
    before = Secrets(() if secret is None else (SigningKey(secret),))
    webhook, kept = defined(given, None, before, _limits(services))
    stored = await services.pool.run(
        create_webhook,
        caller.tenant_id,
        webhook,
        sealed(_seal(services), caller.tenant_id, webhook.id, kept),
        enabled=given.enabled,
        author=caller.name,
    )
    if stored is None:
        detail = f"webhook {webhook.id!r} is there already, or {MAX_PER_TENANT} others are"
        raise Problem(409, detail, field="id")
    await notify_deliverers(services, caller)
    made = WebhookMade(**msgspec.structs.asdict(webhook_view(stored)), secret=secret)
    response = tagged(answer(made), stored.version)
    response.status_code = 201
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    return response


@router.get(
    "/{id}",
    **documented("getWebhook", WebhookView, example=examples.WEBHOOK, headers=["ETag"]),
)
async def webhook(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002 -- the name in the path, and so in problems, as below
    _: Annotated[NoQuery, Query()],
) -> Response:
    """One webhook or channel, and how it fares."""
    stored = await stored_webhook(request, caller, id)
    return tagged(answer(webhook_view(stored)), stored.version)


@router.put(
    "/{id}",
    **documented(
        "saveWebhook",
        WebhookView,
        example=examples.WEBHOOK,
        body=WebhookInput,
        body_example=examples.WEBHOOK_INPUT,
        problems=[412],
        headers=["ETag"],
    ),
)
async def save(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Change a webhook or channel. With `If-Match` only over the version it names.

    One that was disabled goes on where it stopped.
    """
    given = decoded(await request.body(), WebhookInput)
    return await _save(request, caller, await stored_webhook(request, caller, id), given)


@router.patch(
    "/{id}",
    **documented(
        "editWebhook",
        WebhookView,
        example=examples.WEBHOOK,
        body=WebhookPatch,
        body_example=examples.WEBHOOK_PATCH,
        problems=[412],
        headers=["ETag"],
    ),
)
async def edit(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Change what is given. With `If-Match` only over the version it names."""
    patch = decoded(await request.body(), WebhookPatch)
    stored = await stored_webhook(request, caller, id)
    return await _save(request, caller, stored, patched(stored, patch))


@router.delete("/{id}", **documented("deleteWebhook", status=204))
async def delete(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Remove a webhook or channel, with its deliveries and dead letters."""
    services = services_of(request)
    if not await services.pool.run(delete_webhook, caller.tenant_id, id):
        raise not_found(f"webhook {id!r}")
    await notify_deliverers(services, caller)
    return Response(status_code=204)


@router.post(
    "/{id}/secret",
    **documented(
        "rotateWebhookSecret",
        NewSecret,
        example=examples.NEW_SECRET,
        body=RotationInput,
        body_example=examples.ROTATION,
        body_required=False,
        problems=[409],
    ),
)
async def rotate(
    request: Request,
    caller: Admin,
    id: WebhookId,  # noqa: A002
    _: Annotated[NoQuery, Query()],
) -> Response:
    """Sign with a new secret; for `overlap_s` every message is signed by those before it, too."""
    services = services_of(request)
    given = decoded(await request.body() or b"{}", RotationInput)
    stored = await stored_webhook(request, caller, id)
    if stored.webhook.kind != "webhook":
        raise Problem(409, "a channel signs nothing")
    secret = new_secret()
    kept = _opened(services, caller, stored).rotated(
        secret, to_us(datetime.now(UTC)), given.overlap_s * 1_000_000
    )
    await _store(request, caller, stored, stored.webhook, kept, enabled=stored.enabled)
    return answer(NewSecret(secret))


async def stored_webhook(request: Request, caller: Principal, id_: str) -> StoredWebhook:
    """The webhook of an id.

    Raises:
        Problem: 404, there is none.
    """
    stored = await services_of(request).pool.run(get_webhook, caller.tenant_id, id_)
    if stored is None:
        raise not_found(f"webhook {id_!r}")
    return stored


async def _save(
    request: Request, caller: Principal, stored: StoredWebhook, given: WebhookInput
) -> Response:
    services = services_of(request)
    if given.kind != stored.webhook.kind:
        raise Problem(422, f"it is of kind {stored.webhook.kind}, for good", field="kind")
    webhook, kept = defined(
        given, stored.webhook.id, _opened(services, caller, stored), _limits(services)
    )
    saved = await _store(request, caller, stored, webhook, kept, enabled=given.enabled)
    return tagged(answer(webhook_view(saved)), saved.version)


async def _store(
    request: Request,
    caller: Principal,
    stored: StoredWebhook,
    webhook: Webhook,
    kept: Secrets,
    *,
    enabled: bool,
) -> StoredWebhook:
    services = services_of(request)
    wanted = wanted_versions(request)
    if wanted is not None and stored.version not in wanted:
        raise changed_meanwhile(f"webhook {webhook.id!r}", stored.version)
    saved = await services.pool.run(
        save_webhook,
        caller.tenant_id,
        webhook,
        sealed(_seal(services), caller.tenant_id, webhook.id, kept),
        enabled=enabled,
        author=caller.name,
        version=stored.version,
    )
    if saved is None:
        raise Problem(412, "it was changed at the same moment: read it again")
    await notify_deliverers(services, caller)
    return saved


def _opened(services: Services, caller: Principal, stored: StoredWebhook) -> Secrets:
    """Its secrets; none where they were sealed under another key, so they can be set anew."""
    id_ = stored.webhook.id
    return unsealed(_seal(services), caller.tenant_id, id_, stored.sealed) or Secrets()


def _limits(services: Services) -> Limits:
    settings = services.settings
    egress = Egress.of(
        settings.webhook_allow_nets, settings.webhook_ports, http=settings.webhook_http
    )
    return Limits(egress, tuple(settings.channels))


def _seal(services: Services) -> Seal:
    key = services.settings.secret_key
    if key is None:
        raise Problem(503, "the server has no WAYMARK_SECRET_KEY to keep secrets under")
    return Seal(key.get_secret_value())


async def notify_deliverers(services: Services, caller: Principal) -> None:
    """Tell the deliverers at once what they would notice within seconds."""
    await services.publisher.publish([webhooks_notice(caller.tenant)])
