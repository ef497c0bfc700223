"""What requests and answers about rules and alerts look like, for the OpenAPI document."""

from uuid import UUID

from api.conventions.answers import Many, Refusal
from api.examples.fleet import EVENT, MORNING
from api.schemas.alerts import DeviceAlerts, NoteInput, RuleView, Suppressed, TrialView
from tracking.alert_life import AlertedEvent, AlertView

RULE = RuleView(
    id="depot-at-night",
    name="Somebody at the depot at night",
    types=("fence.entered",),
    fences=("depot-1",),
    severity="critical",
    cooldown_s=600.0,
    version=2,
    created_at=MORNING.replace(month=1),
    updated_at=MORNING.replace(day=1),
    updated_by="laptop",
)
RULE_INPUT = {
    "id": "depot-at-night",
    "name": "Somebody at the depot at night",
    "types": ["fence.entered"],
    "fences": ["depot-1"],
    "severity": "critical",
    "cooldown_s": 600,
}
ALERT = AlertView(
    id=UUID("c2a7f8de-4f0e-5f4e-9b0a-54d7c3f1a9b8"),
    rule="depot-at-night",
    rule_version=2,
    severity="critical",
    state="acknowledged",
    device="van-7",
    fence="depot-1",
    event=AlertedEvent(EVENT.id, EVENT.type, "2026-03-08T06:30:00Z", EVENT.status, EVENT.data),
    late=False,
    opened_at="2026-03-08T06:30:00Z",
    recorded_at="2026-03-08T06:30:02Z",
    suppressed_n=0,
    acknowledged_at="2026-03-08T06:41:10Z",
    acknowledged_by="laptop",
    note="the early shift",
)
NOTE_INPUT = NoteInput(note="the early shift")
SNOOZE_INPUT = {"for_s": 3_600, "note": "the early shift"}
ACKNOWLEDGE_INPUT = {"rule": "depot-at-night", "note": "the early shift"}
ALERTS_ACKNOWLEDGED = Many([ALERT], [Refusal("7c9d3f2e-1111-5222-8333-444455556666", "resolved")])
TRIAL_INPUT = {"rule": RULE_INPUT, "from": MORNING.replace(day=1), "to": MORNING, "limit": 10}
TRIAL = TrialView(
    rule="depot-at-night",
    events_n=412,
    alerts_n=1,
    suppressed_n=Suppressed(cooldown=3, quiet=0),
    devices=[DeviceAlerts("van-7", 1)],
    items=[ALERT],
)
