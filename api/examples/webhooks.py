"""What webhooks look like, for the OpenAPI document."""

from datetime import UTC, datetime
from uuid import UUID

from api.schemas.webhooks import (
    AlertsInput,
    Asked,
    Attempt,
    DeliveryView,
    FilterInput,
    NewSecret,
    Replaying,
    ReplayInput,
    RotationInput,
    WebhookInput,
    WebhookMade,
    WebhookPatch,
    WebhookStatus,
    WebhookView,
)
from tracking.webhooks import AlertsWanted, Wanted

_MORNING = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 -- the specification's example
_STATUS = WebhookStatus(
    backlog=0,
    cursor=4_711,
    failing_since=None,
    last_success_at=_MORNING,
    last_failure_at=None,
    last_failure=None,
    retrying_subjects=0,
    dead_letters=0,
)

WEBHOOK_INPUT = WebhookInput(
    id="orders",
    url="https://orders.example.com/waymark",
    description="The order service",
    filter=FilterInput(types=("fence.*", "alert.*"), alerts=AlertsInput(severities=("critical",))),
    headers={"X-Team": "logistics"},
)
WEBHOOK = WebhookView(
    id="orders",
    kind="webhook",
    url="https://orders.example.com/waymark",
    description="The order service",
    filter=Wanted(types=("fence.*", "alert.*"), alerts=AlertsWanted(severities=("critical",))),
    enabled=True,
    disabled_reason=None,
    headers={"X-Team": "***"},
    max_per_s=None,
    title=None,
    text=None,
    time_zone="UTC",
    status=_STATUS,
    version=1,
    created_at=_MORNING,
    updated_at=_MORNING,
    updated_by="laptop",
)
WEBHOOK_MADE = WebhookMade(
    **{name: getattr(WEBHOOK, name) for name in WebhookView.__struct_fields__}, secret=_SECRET
)
WEBHOOK_PATCH = WebhookPatch(enabled=True)
ROTATION = RotationInput(overlap_s=86_400)
NEW_SECRET = NewSecret(_SECRET)
REPLAY = ReplayInput(since=4_711)
REPLAYING = Replaying(4_711)
ASKED = Asked([812])
DELIVERY = DeliveryView(
    id=812,
    message="0f6c3d0e-6f0f-5f3c-9a43-6c3f0d4a7b11_1",
    event=UUID("0f6c3d0e-6f0f-5f3c-9a43-6c3f0d4a7b11"),
    type="fence.entered",
    subject="van-7",
    state="delivered",
    tries=1,
    started_at=_MORNING,
    due_at=None,
    recorded_at=_MORNING,
    attempts=[Attempt(_MORNING, 204, 38, None, "")],
)
