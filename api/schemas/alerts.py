"""What the api takes about rules and alerts: query parameters, and bodies, decoded by msgspec."""

import secrets
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from pydantic import Field

from api.conventions.problems import Problem
from api.schemas.fences import decoded
from api.schemas.parameters import Paged, Selected, Text, Time
from tracking.alert_life import AlertView
from tracking.fence_input import Id, Label, Labels, Name, ScheduleInput
from tracking.rules import Op, Rule, Severity, check
from tracking.store.rules import StoredRule
from tracking.times import Moment, to_us

MAX_AT_ONCE = 1_000
_MAX_SNOOZE = timedelta(days=366)

Seconds = Annotated[float, Meta(ge=0, le=31_622_400)]
SomeSeconds = Annotated[float, Meta(gt=0, le=31_622_400)]
Patterns = Annotated[tuple[Label, ...], Meta(max_length=100)]
Names = Annotated[tuple[Name, ...], Meta(max_length=10_000)]
Note = Annotated[str, Meta(max_length=2_000, pattern=r"^[^\x00]*$(?!\n)")]


class ConditionInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that must be true of an event."""

    field: Label
    op: Op
    value: Any = True


class RuleInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule as it may be sent. The last members are told by the api and ignored here, so that
    a rule that was read can be sent back.
    """  # noqa: D205 -- one contract

    types: Patterns
    id: Id | None = None
    name: Name | None = None
    devices: Names = ()
    groups: Labels = ()
    tags: Labels = ()
    fences: Names = ()
    where: Annotated[tuple[ConditionInput, ...], Meta(max_length=50)] = ()
    late: Literal["include", "exclude"] = "include"
    initial: bool = False
    severity: Severity = "warning"
    cooldown_s: Seconds = 0.0
    quiet_hours: ScheduleInput | None = None
    escalate_after_s: SomeSeconds | None = None
    escalate_to: Severity = "critical"
    clears_on: Patterns = ()
    enabled: bool = True

    version: Any = None
    created_at: Any = None
    updated_at: Any = None
    updated_by: Any = None


class TrialInput(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}
):
    """A rule to try, over the events that happened from `from` until before `to`."""

    rule: RuleInput
    start: Moment
    end: Moment
    limit: Annotated[int, Meta(ge=1, le=MAX_AT_ONCE)] = 100


class NoteInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody says about what they do."""

    note: Note | None = None


class SnoozeInput(NoteInput, frozen=True, forbid_unknown_fields=True):
    """Until when an alert is to be silent; one of the two."""

    until: Moment | None = None
    for_s: SomeSeconds | None = None


class AcknowledgeInput(NoteInput, frozen=True, forbid_unknown_fields=True):
    """Which alerts: by id, or all that are open of a rule, device, fence or severity."""

    ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_AT_ONCE)] | None = None
    rule: Name | None = None
    device: Name | None = None
    fence: Name | None = None
    severity: Severity | None = None


class RuleView(Rule, frozen=True, kw_only=True, omit_defaults=False):
    """A rule as it is told, in one of its versions."""

    version: int
    created_at: Moment
    updated_at: Moment
    updated_by: str | None


class Suppressed(msgspec.Struct, frozen=True):
    """How many events would have been kept silent, by the reason."""

    cooldown: int
    quiet: int


class DeviceAlerts(msgspec.Struct, frozen=True):
    """How many alerts are about a device."""

    device: str
    alerts_n: int


class TrialView(msgspec.Struct, frozen=True):
    """What a rule would have raised: from how many events how many alerts, and the first of them.

    `devices` come with the most alerts first.
    """

    rule: str
    events_n: int
    alerts_n: int
    suppressed_n: Suppressed
    devices: list[DeviceAlerts]
    items: list[AlertView]


class RuleQuery(Selected):
    """Which version of a rule."""

    version: int | None = Field(None, ge=1, le=2**31 - 1)


class AlertQuery(Paged):
    """Which alerts."""

    state: (
        list[Literal["open", "escalated", "acknowledged", "snoozed", "resolved", "suppressed"]]
        | None
    ) = Field(None, description="Repeat for several; without it, all but suppressed")
    severity: list[Severity] | None = Field(None, description="Repeat for several")
    rule: Text | None = None
    device: Text | None = None
    fence: Text | None = None
    event: UUID | None = Field(None, description="Those this event raised")
    start: Time | None = Field(None, alias="from", description="First time, included")
    end: Time | None = Field(None, alias="to", description="Last time, excluded")


def rule_view(stored: StoredRule) -> RuleView:
    """A stored rule as it is told."""
    return RuleView(
        **msgspec.structs.asdict(stored.version.rule),
        version=stored.version.version,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
        updated_by=stored.updated_by,
    )


def rule_of(given: RuleInput, id_: str | None = None) -> Rule:
    """The rule somebody sent, under the id in the address, its own, or a new one.

    Raises:
        InputError: it cannot mean what it says; the field is named.
        Problem: 422, the address has another id.
    """
    if id_ is not None and given.id not in {None, id_}:
        raise Problem(422, f"it is not {id_!r}, as in the address", field="id")
    named = id_ or given.id or secrets.token_hex(8)
    members = {name: getattr(given, name) for name in Rule.__struct_fields__}
    rule = msgspec.convert(
        members | {"id": named, "name": given.name or named}, Rule, from_attributes=True
    )
    check(rule)
    return rule


def note_of(raw: bytes) -> str | None:
    """The note in the body of an act, which may be empty."""
    return decoded(raw or b"{}", NoteInput).note


def snooze_us(given: SnoozeInput, now_us: int) -> int:
    """The end of a snooze.

    Raises:
        Problem: 422, not exactly one end, or one that is past or far away.
    """
    if (given.until is None) is (given.for_s is None):
        raise Problem(422, "give until, or for_s", field="until")
    after_us = round((given.for_s or 0) * 1e6)
    until_us = now_us + after_us if given.until is None else to_us(given.until)
    if not now_us < until_us <= now_us + _MAX_SNOOZE // timedelta(microseconds=1):
        raise Problem(422, "until lies in the past, or more than a year ahead", field="until")
    return until_us
