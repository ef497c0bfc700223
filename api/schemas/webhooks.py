"""What the api takes and tells about webhooks, channels and their deliveries."""

import secrets
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pydantic import Field

from api.conventions.problems import Problem
from api.schemas.parameters import Paged, Text, checked_bbox
from tracking.egress import Egress
from tracking.errors import InputError
from tracking.fence_input import Id, Name
from tracking.rules import Severity
from tracking.schedules import zone_of
from tracking.store.deliveries import Delivery
from tracking.store.webhooks import StoredWebhook
from tracking.times import Moment
from tracking.webhooks import (
    REDACTED,
    AlertsWanted,
    Kind,
    Secrets,
    Wanted,
    Webhook,
    channel_fault,
    check_headers,
)
from tracking.wording import check_template

_MAX_OVERLAP_S = 604_800

Url = Annotated[str, Meta(min_length=1, max_length=2_048, pattern=r"^[\x21-\x7e]+$(?!\n)")]
Words = Annotated[str, Meta(max_length=2_000, pattern=r"^[^\x00]*$(?!\n)")]
HeaderName = Annotated[str, Meta(min_length=1, max_length=128)]
HeaderValue = Annotated[str, Meta(max_length=4_096)]
Headers = Annotated[dict[HeaderName, HeaderValue], Meta(max_length=20)]
Pace = Annotated[float, Meta(ge=0.01, le=10_000)]
Names = Annotated[tuple[Name, ...], Meta(max_length=10_000)]
Types = Annotated[tuple[Name, ...], Meta(max_length=100)]


class AlertsInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which alerts: of these rules, of these severities."""

    rules: Names | None = None
    severities: tuple[Severity, ...] | None = None


class FilterInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events, as in the feed: all given must fit. `alerts` alone means alerts alone."""

    types: Types | None = None
    devices: Names | None = None
    fences: Names | None = None
    shipments: Names | None = None
    bbox: tuple[float, float, float, float] | None = None
    alerts: AlertsInput | None = None


class WebhookInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A webhook or channel as it may be sent. The last members are told by the api and ignored
    here; a header of `***`, and a channel without a URL, keep what they have.
    """  # noqa: D205 -- one contract

    url: Url | None = None
    id: Id | None = None
    kind: Kind = "webhook"
    description: Words = ""
    filter: FilterInput = FilterInput()
    enabled: bool = True
    headers: Headers = {}
    max_per_s: Pace | None = None
    title: Words | None = None
    text: Words | None = None
    time_zone: Name = "UTC"

    disabled_reason: Any = None
    status: Any = None
    version: Any = None
    created_at: Any = None
    updated_at: Any = None
    updated_by: Any = None


class WebhookPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is left out stays."""

    url: Url | UnsetType = UNSET
    description: Words | UnsetType = UNSET
    filter: FilterInput | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    max_per_s: Pace | UnsetType | None = UNSET
    title: Words | UnsetType | None = UNSET
    text: Words | UnsetType | None = UNSET
    time_zone: Name | UnsetType = UNSET


class RotationInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how long the secrets before sign along."""

    overlap_s: Annotated[int, Meta(ge=0, le=_MAX_OVERLAP_S)] = 86_400


class ReplayInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where on to deliver again: the cursor of an event, or the time it was recorded."""

    since: Annotated[int, Meta(ge=0, le=2**63 - 1)] | Moment


class DeliveryQuery(Paged):
    """Which deliveries."""

    state: Literal["delivered", "retrying", "waiting", "dead", "superseded"] | None = None
    event: UUID | None = Field(None, description="Of this event")
    type: Text | None = Field(None, description="Of events of this type")
    subject: Text | None = Field(None, description="Of events about this device or other subject")


class WebhookStatus(msgspec.Struct, frozen=True):
    """How a target fares. `backlog` counts the events of the log that were not looked at yet."""

    backlog: int
    cursor: int
    failing_since: Moment | None
    last_success_at: Moment | None
    last_failure_at: Moment | None
    last_failure: str | None
    retrying_subjects: int
    dead_letters: int


class WebhookView(msgspec.Struct, frozen=True):
    """A webhook or channel as it is told; values of headers and URLs of channels never are."""

    id: str
    kind: Kind
    url: str | None
    description: str
    filter: Wanted
    enabled: bool
    disabled_reason: str | None
    headers: dict[str, str]
    max_per_s: float | None
    title: str | None
    text: str | None
    time_zone: str
    status: WebhookStatus
    version: int
    created_at: Moment
    updated_at: Moment
    updated_by: str | None


class WebhookMade(WebhookView, frozen=True):
    """A new webhook with the secret it signs with, which is shown this once."""

    secret: str | None


class NewSecret(msgspec.Struct, frozen=True):
    """The secret a webhook signs with from now on, shown this once."""

    secret: str


class Attempt(msgspec.Struct, frozen=True):
    """One try. `response` is the beginning of what came back."""

    at: Moment
    status: int | None
    latency_ms: int
    error: str | None
    response: str


class DeliveryView(msgspec.Struct, frozen=True):
    """What became of a message. `message` is its webhook-id; of the tries the last 50 are told."""

    id: int
    message: str
    event: UUID | None
    type: str
    subject: str
    state: str
    tries: int
    started_at: Moment | None
    due_at: Moment | None
    recorded_at: Moment
    attempts: list[Attempt]


class Asked(msgspec.Struct, frozen=True):
    """What will be delivered: look there how it went."""

    deliveries: list[int]


class Replaying(msgspec.Struct, frozen=True):
    """Events behind this cursor are delivered (again)."""

    cursor: int


class Limits(msgspec.Struct, frozen=True):
    """Where targets may lead, by the settings."""

    egress: Egress
    channels: tuple[str, ...]


def defined(
    given: WebhookInput, id_: str | None, before: Secrets, limits: Limits
) -> tuple[Webhook, Secrets]:
    """The target somebody sent, with the secrets it is to have.

    Raises:
        InputError: it cannot mean what it says; the field is named.
        Problem: 422, the address has another id.
    """
    if id_ is not None and given.id not in {None, id_}:
        raise Problem(422, f"it is not {id_!r}, as in the address", field="id")
    url = given.url if given.url is not None or given.kind == "webhook" else before.url
    _check_url(given.kind, url, limits)
    headers = {
        name: before.headers.get(name, "") if value == REDACTED else value
        for name, value in given.headers.items()
    }
    check_headers(headers)
    check_template(given.title, "title")
    check_template(given.text, "text")
    zone_of(given.time_zone)
    channel = given.kind == "apprise"
    webhook = Webhook(
        id=id_ or given.id or secrets.token_hex(8),
        kind=given.kind,
        url=None if channel else url,
        description=given.description,
        filter=_wanted(given.filter),
        headers=tuple(headers),
        max_per_s=given.max_per_s,
        title=given.title,
        text=given.text,
        time_zone=given.time_zone,
    )
    return webhook, Secrets(before.keys, headers, url if channel else None)


def patched(stored: StoredWebhook, patch: WebhookPatch) -> WebhookInput:
    """What somebody would have sent to change just this."""
    view = webhook_view(stored)
    base = msgspec.convert(
        {name: getattr(view, name) for name in WebhookPatch.__struct_fields__ if name != "filter"}
        | {"id": view.id, "kind": view.kind, "filter": msgspec.to_builtins(view.filter)},
        WebhookInput,
    )
    given = {
        name: value
        for name in WebhookPatch.__struct_fields__
        if (value := getattr(patch, name)) is not UNSET
    }
    return msgspec.structs.replace(base, **given)


def webhook_view(stored: StoredWebhook) -> WebhookView:
    """A stored target as it is told."""
    webhook = stored.webhook
    return WebhookView(
        id=webhook.id,
        kind=webhook.kind,
        url=webhook.url,
        description=webhook.description,
        filter=webhook.filter,
        enabled=stored.enabled,
        disabled_reason=stored.disabled_reason,
        headers=dict.fromkeys(webhook.headers, REDACTED),
        max_per_s=webhook.max_per_s,
        title=webhook.title,
        text=webhook.text,
        time_zone=webhook.time_zone,
        status=WebhookStatus(*stored.fares),
        version=stored.version,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
        updated_by=stored.updated_by,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    """A delivery as it is told."""
    attempts = msgspec.json.decode(delivery.attempts, type=list[Attempt])
    return DeliveryView(
        delivery.number, delivery.message, delivery.event_id, delivery.type, delivery.subject,
        delivery.state, delivery.tries, delivery.started_at, delivery.due_at,
        delivery.recorded_at, attempts,
    )  # fmt: skip


def _check_url(kind: Kind, url: str | None, limits: Limits) -> None:
    if url is None:
        raise InputError("it is missing", field="url")
    if kind == "webhook":
        fault = limits.egress.url_fault(url)
    else:
        fault = channel_fault(url, limits.channels)
    if fault is not None:
        raise InputError(fault, field="url")


def _wanted(given: FilterInput) -> Wanted:
    if given.bbox is not None:
        try:
            checked_bbox(list(given.bbox))
        except ValueError as exc:
            raise InputError(str(exc), field="filter.bbox") from None
    alerts = given.alerts
    return Wanted(
        types=given.types,
        devices=given.devices,
        fences=given.fences,
        shipments=given.shipments,
        bbox=given.bbox,
        alerts=None if alerts is None else AlertsWanted(alerts.rules, alerts.severities),
    )
