"""Rules: which events are worth an alert. Pure: no I/O, no clock.

`Matcher` answers for thousands of rules at the cost of those an event could concern; what becomes
of a match (cooldown, quiet hours, the life of the alert) is `tracking.alerting`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid5

import msgspec

from tracking.errors import InputError
from tracking.feed import EventRecord
from tracking.fences import Schedule
from tracking.schedules import calendar

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
Op = Literal["gt", "ge", "lt", "le", "eq", "ne", "in", "exists"]
# What an alert says of itself is an event too, and never a reason for another.
ALERT_TYPES = "alert."

# The root of every alert id.
_NAMESPACE = UUID("0b1f7d3a-52d6-5c7e-8f21-616c65727473")
_TYPE = re.compile(r"\*|[a-z]+\.(\*|[a-z_]+)")
_FIELD = re.compile(r"data(\.[A-Za-z0-9_-]{1,64}){1,8}|late|age_s")

Test = Callable[[EventRecord], bool]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}


class Condition(msgspec.Struct, frozen=True):
    """One thing that must be true of an event.

    `field` is `data.` and a path of members, `late`, or `age_s`: how long after it happened the
    event was recorded. A comparison with what an event lacks, or with another type, is false.
    """

    field: str
    op: Op
    value: Any = True

    def test(self) -> Test:
        """What asks an event, with the field taken apart beforehand: 0.4 us for a rule."""
        find, value, op = _finder(self.field), self.value, self.op
        compare = _COMPARE.get(op)
        if compare is not None:
            return lambda event: _comparable(found := find(event), value) and compare(found, value)
        match op:
            case "exists":
                return lambda event: (find(event) is not None) is value
            case "eq":
                return lambda event: _same(find(event), value)
            case "ne":
                return lambda event: (found := find(event)) is not None and not _same(found, value)
            case _:
                return lambda event: any(_same(find(event), one) for one in value)


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a user asks to be told. Empty lists leave that question open.

    `types` are event types, `fence.*` a family of them, `*` all. A device is meant when it is in
    any of `devices`, `groups`, `tags`. Every condition of `where` must hold.
    """

    id: str
    name: str
    types: tuple[str, ...]
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    fences: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()
    # Events a repair found after the fact.
    late: Literal["include", "exclude"] = "include"
    # Events that only say how a device was found: `data.initial`.
    initial: bool = False
    severity: Severity = "warning"
    # Device time from an alert, either way, in which its rule, device and fence raise no other.
    cooldown_s: float = 0.0
    # No alert for what happens while open, unless the rule is critical.
    quiet_hours: Schedule | None = None
    # Our clock, from the opening of an alert that nobody took up.
    escalate_after_s: float | None = None
    escalate_to: Severity = "critical"
    # An event of these types resolves the alerts of the same device (and fence) before it.
    clears_on: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """A rule as it was when an event was judged. `number` is the rule's in the database."""

    number: int
    version: int
    rule: Rule

    def alert_id(self, event_id: str) -> UUID:
        """The one alert this rule can raise for an event, whichever version judges it."""
        return alert_id(self.rule.id, event_id)

    def holds(self, event: EventRecord) -> bool:
        """Whether what the event says, rather than whom it concerns, fits the rule."""
        rule = self.rule
        return (rule.initial or event.data.get("initial") is not True) and all(
            condition.test()(event) for condition in rule.where
        )

    def clears(self, type_: str) -> bool:
        """Whether an event of the type resolves alerts of this rule."""
        return any(_covers(pattern, type_) for pattern in self.rule.clears_on)

    def quiet_at(self, time_us: int) -> bool:
        """Whether the rule is silent about what happens at the moment."""
        hours = self.rule.quiet_hours
        return (
            hours is not None
            and self.rule.severity != "critical"
            and calendar(hours).open_at(time_us)
        )


def alert_id(rule_id: str, event_id: str) -> UUID:
    """Deterministic: a rule and an event have one alert, found again however often."""
    return uuid5(_NAMESPACE, f"{rule_id}\0{event_id}")


class Matcher:
    """Rules compiled for asking; immutable, any number may share it.

    An event meets only the rules of its type and, of those, the ones for its fence, its device, a
    group or a tag of it, and the ones that name none of these.
    """

    def __init__(self, versions: Iterable[RuleVersion]) -> None:
        self.versions = tuple(v for v in versions if v.rule.enabled)
        self._of_type: dict[str, _OfType] = {}
        self._clearing: dict[str, tuple[RuleVersion, ...]] = {}

    def match(
        self, event: EventRecord, groups: Sequence[str] = (), tags: Sequence[str] = ()
    ) -> list[RuleVersion]:
        """The rules the event fits, in the order given; none for events about alerts."""
        of_type = self._of_type.get(event.type)
        if of_type is None:
            of_type = self._of_type[event.type] = _OfType(self._covering(event.type))
        return of_type.match(event, groups, tags)

    def clearing(self, type_: str) -> tuple[RuleVersion, ...]:
        """The rules whose alerts an event of the type resolves."""
        found = self._clearing.get(type_)
        if found is None:
            found = self._clearing[type_] = tuple(v for v in self.versions if v.clears(type_))
        return found

    def _covering(self, type_: str) -> list[RuleVersion]:
        if type_.startswith(ALERT_TYPES):
            return []
        return [v for v in self.versions if any(_covers(p, type_) for p in v.rule.types)]


class _OfType:
    """The rules about one type of event, each findable by the rarest thing it names."""

    def __init__(self, versions: Iterable[RuleVersion]) -> None:
        self._entries = [_Entry(version) for version in versions]
        self._everywhere: list[int] = []
        self._by_fence: dict[str, list[int]] = defaultdict(list)
        self._by_device: dict[str, list[int]] = defaultdict(list)
        self._by_group: dict[str, list[int]] = defaultdict(list)
        self._by_tag: dict[str, list[int]] = defaultdict(list)
        for i, entry in enumerate(self._entries):
            places = (
                [(self._by_fence, entry.fences)]
                if entry.fences
                else [
                    (self._by_device, entry.devices),
                    (self._by_group, entry.groups),
                    (self._by_tag, entry.tags),
                ]
            )
            if not any(names for _, names in places):
                self._everywhere.append(i)
            for index, names in places:
                for name in names:
                    index[name].append(i)

    def match(
        self, event: EventRecord, groups: Sequence[str], tags: Sequence[str]
    ) -> list[RuleVersion]:
        found = set(self._everywhere)
        fence = event.data.get("fence")
        if isinstance(fence, str):
            found.update(self._by_fence.get(fence, ()))
        found.update(self._by_device.get(event.subject, ()))
        for group in groups:
            found.update(self._by_group.get(group, ()))
        for tag in tags:
            found.update(self._by_tag.get(tag, ()))
        entries = map(self._entries.__getitem__, sorted(found))
        return [e.version for e in entries if e.fits(event, fence, groups, tags)]


class _Entry:
    """A rule with its names as sets."""

    __slots__ = ("devices", "fences", "groups", "named", "tags", "tests", "version")

    def __init__(self, version: RuleVersion) -> None:
        self.version = version
        rule = version.rule
        self.fences, self.devices = frozenset(rule.fences), frozenset(rule.devices)
        self.groups, self.tags = frozenset(rule.groups), frozenset(rule.tags)
        self.named = bool(self.devices or self.groups or self.tags)
        self.tests = [condition.test() for condition in rule.where]

    def fits(
        self, event: EventRecord, fence: object, groups: Sequence[str], tags: Sequence[str]
    ) -> bool:
        # What costs least and tells most comes first.
        for test in self.tests:
            if not test(event):
                return False
        if self.fences and fence not in self.fences:
            return False
        rule = self.version.rule
        if event.late and rule.late == "exclude":
            return False
        if self.named and not (
            event.subject in self.devices
            or not self.groups.isdisjoint(groups)
            or not self.tags.isdisjoint(tags)
        ):
            return False
        return rule.initial or event.data.get("initial") is not True


def check(rule: Rule) -> None:
    """Refuse a rule that cannot mean what it says.

    Raises:
        InputError: naming the member at fault.
    """
    if not rule.types:
        raise InputError("name at least one event type, or * for all", field="types")
    for field, patterns in (("types", rule.types), ("clears_on", rule.clears_on)):
        _check_types(field, patterns)
    for i, condition in enumerate(rule.where):
        _check_condition(f"where[{i}]", condition)
    for one in rule.types:
        for other in rule.clears_on:
            if _covers(one, other) or _covers(other, one):
                raise InputError(f"{other} cannot clear what {one} raises", field="clears_on")
    if rule.quiet_hours is not None:
        try:
            calendar(rule.quiet_hours)
        except InputError as exc:
            raise InputError(str(exc), field=f"quiet_hours.{exc.field}") from exc
    severity, to = SEVERITIES.index(rule.severity), SEVERITIES.index(rule.escalate_to)
    if rule.escalate_after_s is not None and to < severity:
        raise InputError(
            f"an alert that is {rule.severity} cannot escalate to {rule.escalate_to}",
            field="escalate_to",
        )


def _check_types(field: str, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        if not _TYPE.fullmatch(pattern):
            raise InputError(
                f"{pattern!r} is no event type: fence.entered, fence.* or *", field=field
            )
        if pattern.startswith(ALERT_TYPES):
            raise InputError("what alerts say of themselves raises no alerts", field=field)


def _check_condition(field: str, condition: Condition) -> None:
    if not _FIELD.fullmatch(condition.field):
        raise InputError(
            f"{condition.field!r} is no field: data.<member>, late or age_s",
            field=f"{field}.field",
        )
    value = condition.value
    wanted = None
    match condition.op:
        case "exists" if not isinstance(value, bool):
            wanted = "true or false"
        case "in" if not (isinstance(value, list | tuple) and all(map(_scalar, value))):
            wanted = "a list of numbers, strings, true or false"
        case "eq" | "ne" if not _scalar(value):
            wanted = "a number, a string, true or false"
        case "gt" | "ge" | "lt" | "le" if isinstance(value, bool) or not _scalar(value):
            wanted = "a number or a string"
    if wanted is not None:
        raise InputError(f"{condition.op} needs {wanted}", field=f"{field}.value")


def _finder(field: str) -> Callable[[EventRecord], Any]:
    """What looks a field up in an event; None where there is none."""
    if field == "late":
        return lambda event: event.late
    if field == "age_s":
        return lambda event: (event.recorded_at_us - event.time_us) / 1e6
    first, *rest = field.split(".")[1:]
    if not rest:
        return lambda event: event.data.get(first)

    def find(event: EventRecord) -> object:
        found: object = event.data.get(first)
        for member in rest:
            found = found.get(member) if isinstance(found, dict) else None
        return found

    return find


def _covers(pattern: str, type_: str) -> bool:
    return pattern in {"*", type_} or (pattern.endswith("*") and type_.startswith(pattern[:-1]))


def _scalar(value: object) -> bool:
    return isinstance(value, str | int | float)


def _same(a: object, b: object) -> bool:
    # True is not 1 here, as in JSON.
    return a == b and isinstance(a, bool) is isinstance(b, bool)


def _comparable(a: object, b: object) -> bool:
    if isinstance(a, str):
        return isinstance(b, str)
    return (
        isinstance(a, int | float)
        and not isinstance(a, bool)
        and isinstance(b, int | float)
        and not isinstance(b, bool)
    )
