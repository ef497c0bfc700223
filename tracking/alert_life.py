"""An alert, and how people and the clock change it. Pure: the moment comes in as an argument.

open -> escalated          nobody took it up in time
open, escalated -> acknowledged -> resolved
any of these -> snoozed -> open
resolved -> open           by hand, or because its event came back
suppressed                 kept silent by a cooldown or quiet hours; nobody acts on it
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from tracking.errors import WaymarkError
from tracking.feed import EventRecord, alerts_channel, encode_event, events_channel
from tracking.rules import RuleVersion, Severity
from tracking.times import Stamp, iso

State = Literal["open", "escalated", "acknowledged", "snoozed", "resolved", "suppressed"]
Verb = Literal["acknowledge", "snooze", "resolve", "reopen"]
STATES: tuple[State, ...] = (
    "open",
    "escalated",
    "acknowledged",
    "snoozed",
    "resolved",
    "suppressed",
)
# Those that still want somebody.
UNRESOLVED: tuple[State, ...] = STATES[:4]


class NotPossible(WaymarkError):  # noqa: N818 -- a condition
    """What was asked does not go with the state the alert is in."""


class Alert(msgspec.Struct):
    """An alert, or an event kept silent. Times are microseconds; `opened_us` is the event's.

    `due_us` is when it changes by itself: a snooze ends, nobody took it up. `resolved_event` is
    the event that cleared it.
    """

    id: UUID
    rule: str
    rule_number: int
    rule_version: int
    event_id: str
    event_type: str
    event_status: str
    late: bool
    data: dict[str, Any]
    device: str
    device_id: int | None
    fence: str | None
    severity: Severity
    state: State
    opened_us: int
    recorded_us: int
    acknowledged_us: int | None = None
    acknowledged_by: str | None = None
    snoozed_until_us: int | None = None
    escalated_us: int | None = None
    resolved_us: int | None = None
    resolved_by: str | None = None
    resolved_reason: str | None = None
    resolved_event: str | None = None
    note: str | None = None
    suppressed_n: int = 0
    suppressed_by: UUID | None = None
    suppressed_reason: Literal["cooldown", "quiet"] | None = None
    due_us: int | None = None

    @property
    def key(self) -> "Key":
        """Within what its cooldown counts."""
        return Key(self.rule_number, self.device, self.fence)


class Key(NamedTuple):
    """Alerts of one key silence each other."""

    rule_number: int
    device: str
    fence: str | None


class Notice(NamedTuple):
    """A change of an alert that is told as an event about its device."""

    alert: Alert
    type: str
    time_us: int
    data: dict[str, Any]


class AlertedEvent(msgspec.Struct, frozen=True):
    """The event an alert was raised for."""

    id: str
    type: str
    time: Stamp
    status: str
    data: dict[str, Any]


class AlertView(msgspec.Struct, frozen=True, omit_defaults=True):
    """An alert as the api and Redis tell it; what has not happened is left out."""

    id: UUID
    rule: str
    rule_version: int
    severity: Severity
    state: State
    device: str
    fence: str | None
    event: AlertedEvent
    late: bool
    opened_at: Stamp
    recorded_at: Stamp
    suppressed_n: int
    acknowledged_at: Stamp | None = None
    acknowledged_by: str | None = None
    snoozed_until: Stamp | None = None
    escalated_at: Stamp | None = None
    resolved_at: Stamp | None = None
    resolved_by: str | None = None
    resolved_reason: str | None = None
    resolved_event: str | None = None
    suppressed_by: UUID | None = None
    suppressed_reason: Literal["cooldown", "quiet"] | None = None
    note: str | None = None


def notice_data(alert: Alert) -> dict[str, Any]:
    """What an event about an alert says of it."""
    data: dict[str, Any] = {
        "alert": str(alert.id),
        "rule": alert.rule,
        "rule_version": alert.rule_version,
        "severity": alert.severity,
        "state": alert.state,
        "event": {"id": alert.event_id, "type": alert.event_type, "time": iso(alert.opened_us)},
    }
    if alert.late:
        data["late"] = True
    if alert.fence is not None:
        data["fence"] = alert.fence
    for member in ("fence_name", "lon", "lat"):
        if member in alert.data:
            data[member] = alert.data[member]
    return data


def alert_view(alert: Alert) -> AlertView:
    """An alert as others are told of it."""
    return AlertView(
        id=alert.id,
        rule=alert.rule,
        rule_version=alert.rule_version,
        severity=alert.severity,
        state=alert.state,
        device=alert.device,
        fence=alert.fence,
        event=AlertedEvent(
            alert.event_id, alert.event_type, iso(alert.opened_us), alert.event_status, alert.data
        ),
        late=alert.late,
        opened_at=iso(alert.opened_us),
        recorded_at=iso(alert.recorded_us),
        suppressed_n=alert.suppressed_n,
        acknowledged_at=_iso(alert.acknowledged_us),
        acknowledged_by=alert.acknowledged_by,
        snoozed_until=_iso(alert.snoozed_until_us),
        escalated_at=_iso(alert.escalated_us),
        resolved_at=_iso(alert.resolved_us),
        resolved_by=alert.resolved_by,
        resolved_reason=alert.resolved_reason,
        resolved_event=alert.resolved_event,
        suppressed_by=alert.suppressed_by,
        suppressed_reason=alert.suppressed_reason,
        note=alert.note,
    )


def _iso(time_us: int | None) -> Stamp | None:
    return None if time_us is None else iso(time_us)


def notice(alert: Alert, type_: str, time_us: int, **more: str) -> Notice:
    """That an alert changed, as it is now."""
    return Notice(alert, type_, time_us, notice_data(alert) | more)


def escalation_us(version: RuleVersion, alert: Alert, now_us: int) -> int | None:
    """When an alert opened now escalates; once only."""
    after_s = version.rule.escalate_after_s
    if after_s is None or alert.escalated_us is not None:
        return None
    return now_us + round(after_s * 1e6)


def end(alert: Alert, now_us: int, reason: str, by: str | None = None) -> None:
    """Make it resolved."""
    alert.state, alert.due_us, alert.snoozed_until_us = "resolved", None, None
    alert.resolved_us, alert.resolved_reason, alert.resolved_by = now_us, reason, by


def begin_again(alert: Alert, due_us: int | None) -> None:
    """Make it open, as if nobody had seen it; what it escalated to stays."""
    alert.state, alert.due_us, alert.snoozed_until_us = "open", due_us, None
    alert.acknowledged_us, alert.acknowledged_by = None, None
    alert.resolved_us, alert.resolved_reason, alert.resolved_by = None, None, None
    alert.resolved_event = None


class Act(NamedTuple):
    """What somebody does about an alert, when, and what they say."""

    verb: Verb
    by: str
    now_us: int
    note: str | None = None
    until_us: int | None = None


def act(alert: Alert, deed: Act, version: RuleVersion) -> list[Notice]:
    """Do it; doing again what was done changes nothing but the note, and is not told.

    Raises:
        NotPossible: a suppressed alert, or one whose state does not allow it.
    """
    before = alert.state
    if before == "suppressed":
        raise NotPossible("this alert was never raised: its event was kept silent")
    if before == "resolved" and deed.verb in {"acknowledge", "snooze"}:
        raise NotPossible(f"this alert is resolved: reopen it to {deed.verb} it")
    more = {"by": deed.by}
    if deed.note is not None:
        alert.note = more["note"] = deed.note
    match deed.verb:
        case "acknowledge" if before != "acknowledged":
            alert.state, alert.due_us, alert.snoozed_until_us = "acknowledged", None, None
            alert.acknowledged_us, alert.acknowledged_by = deed.now_us, deed.by
        case "snooze" if deed.until_us is not None:
            alert.state = "snoozed"
            alert.snoozed_until_us = alert.due_us = deed.until_us
            more["until"] = iso(deed.until_us)
        case "resolve" if before != "resolved":
            end(alert, deed.now_us, "user", deed.by)
            more["reason"] = "user"
        case "reopen" if before not in {"open", "escalated"}:
            begin_again(alert, escalation_us(version, alert, deed.now_us))
        case _:
            return []
    return [notice(alert, _TOLD_AS[deed.verb], deed.now_us, **more)]


_TOLD_AS = {
    "acknowledge": "alert.acknowledged",
    "snooze": "alert.snoozed",
    "resolve": "alert.resolved",
    "reopen": "alert.reopened",
}


def elapse(alert: Alert, version: RuleVersion, now_us: int) -> list[Notice]:
    """Do what was due: end a snooze, or escalate what nobody took up.

    Told at the moment it was due, so that it has one id whoever finds it.
    """
    due_us = alert.due_us
    if due_us is None or due_us > now_us:
        return []
    if alert.state == "snoozed":
        begin_again(alert, escalation_us(version, alert, now_us))
        return [notice(alert, "alert.reopened", due_us, reason="snooze ended")]
    alert.due_us = None
    if alert.state != "open":
        return []
    alert.state, alert.severity, alert.escalated_us = "escalated", version.rule.escalate_to, due_us
    return [notice(alert, "alert.escalated", due_us)]


def announcements(
    tenant: str, alerts: Iterable[Alert], records: Iterable[EventRecord]
) -> list[tuple[str, bytes]]:
    """(channel, payload) of what changed: the events in cursor order, then the alerts as now."""
    told = [(events_channel(tenant), encode_event(record)) for record in records]
    channel = alerts_channel(tenant)
    return told + [(channel, msgspec.json.encode(alert_view(alert))) for alert in alerts]
