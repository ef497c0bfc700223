"""Which events a rule is about."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.errors import InputError
from tracking.feed import EventRecord
from tracking.fences import Schedule, Window
from tracking.rules import Condition, Matcher, Rule, RuleVersion, alert_id, check

NAMES = st.sampled_from(["a", "b", "c", "d"])
SOME = st.lists(NAMES, max_size=2, unique=True).map(tuple)
TYPES = ("fence.entered", "fence.exited", "trip.started", "device.low_battery", "alert.opened")
PATTERNS = st.lists(
    st.sampled_from([*TYPES[:4], "fence.*", "device.*", "*"]), min_size=1, max_size=3
).map(tuple)
RULES = st.lists(
    st.builds(
        Rule,
        id=st.just("r"),
        name=st.just("r"),
        types=PATTERNS,
        devices=SOME,
        groups=SOME,
        tags=SOME,
        fences=SOME,
        late=st.sampled_from(["include", "exclude"]),
        initial=st.booleans(),
        enabled=st.sampled_from([True, True, True, False]),
        where=st.sampled_from([(), (Condition("data.n", "gt", 1),)]),
    ),
    max_size=12,
)


LATE = Condition("late", "eq", value=True)


def event(type_: str = "fence.entered", /, **data: object) -> EventRecord:
    members: dict[str, Any] = {"subject": "a", "late": False, "recorded_at_us": 60_000_000}
    members |= {name: data.pop(name) for name in tuple(data) if name in members}
    return EventRecord(
        id="e", tenant="t", type=type_, time_us=0, revision=1, status="active", cursor=1,
        data=data, **members,
    )  # fmt: skip


def rule(*types: str, **members: Any) -> Rule:  # noqa: ANN401 -- Rule
    return Rule(id="r", name="r", types=types or ("fence.entered",), **members)


def fits(
    wanted: Rule, one: EventRecord, groups: tuple[str, ...] = (), tags: tuple[str, ...] = ()
) -> bool:
    return bool(Matcher([RuleVersion(1, 1, wanted)]).match(one, groups, tags))


def by_definition(wanted: Rule, one: EventRecord, groups: list[str], tags: list[str]) -> bool:
    """Every question asked of every rule, one after the other."""
    family = one.type.split(".")[0] + ".*"
    n = one.data.get("n")
    named = {("d", x) for x in wanted.devices} | {("g", x) for x in wanted.groups}
    named |= {("t", x) for x in wanted.tags}
    had = {("d", one.subject)} | {("g", x) for x in groups} | {("t", x) for x in tags}
    return (
        wanted.enabled
        and not one.type.startswith("alert.")
        and any(pattern in {one.type, family, "*"} for pattern in wanted.types)
        and (not wanted.fences or one.data.get("fence") in wanted.fences)
        and (not named or bool(named & had))
        and (wanted.late == "include" or not one.late)
        and (wanted.initial or one.data.get("initial") is not True)
        and (not wanted.where or (isinstance(n, int) and n > 1))
    )


@given(
    RULES,
    st.builds(
        event,
        st.sampled_from(TYPES),
        subject=NAMES,
        late=st.booleans(),
        fence=st.one_of(st.none(), NAMES),
        initial=st.sampled_from([None, True, False]),
        n=st.sampled_from([None, 1, 2]),
    ),
    st.lists(NAMES, max_size=2),
    st.lists(NAMES, max_size=2),
)
def test_the_index_finds_what_asking_every_rule_finds(
    rules: list[Rule], one: EventRecord, groups: list[str], tags: list[str]
) -> None:
    matcher = Matcher([RuleVersion(i, 1, wanted) for i, wanted in enumerate(rules)])
    found = [version.number for version in matcher.match(one, groups, tags)]
    assert found == [i for i, r in enumerate(rules) if by_definition(r, one, groups, tags)]


@pytest.mark.parametrize(
    ("condition", "data", "holds"),
    [
        (Condition("data.n", "gt", 5), {"n": 6}, True),
        (Condition("data.n", "gt", 5), {"n": 5}, False),
        (Condition("data.n", "ge", 5), {"n": 5.0}, True),
        (Condition("data.n", "lt", 5), {"n": 4}, True),
        (Condition("data.n", "le", 5), {"n": 5}, True),
        (Condition("data.n", "gt", 5), {}, False),
        (Condition("data.n", "gt", 5), {"n": "6"}, False),
        (Condition("data.n", "gt", 0), {"n": True}, False),
        (Condition("data.n", "gt", "a"), {"n": "b"}, True),
        (Condition("data.n", "eq", 1), {"n": 1.0}, True),
        (Condition("data.n", "eq", 1), {"n": True}, False),
        (Condition("data.n", "eq", value=True), {"n": True}, True),
        (Condition("data.n", "ne", 1), {"n": 2}, True),
        (Condition("data.n", "ne", 1), {}, False),
        (Condition("data.n", "in", ["x", 2]), {"n": 2}, True),
        (Condition("data.n", "in", ["x", 1]), {"n": True}, False),
        (Condition("data.n", "in", []), {"n": 2}, False),
        (Condition("data.n", "exists"), {"n": 0}, True),
        (Condition("data.n", "exists"), {"n": None}, False),
        (Condition("data.n", "exists", value=False), {}, True),
        (Condition("data.a.b", "eq", 3), {"a": {"b": 3}}, True),
        (Condition("data.a.b", "eq", 3), {"a": 3}, False),
        (Condition("late", "eq", value=True), {"late": True}, True),
        (Condition("late", "eq", value=True), {}, False),
        (Condition("age_s", "ge", 60), {}, True),
        (Condition("age_s", "gt", 60), {}, False),
    ],
)
def test_a_condition_holds_when_it_says_so(
    condition: Condition, data: dict[str, Any], *, holds: bool
) -> None:
    check(rule(where=(condition,)))
    assert fits(rule(where=(condition,)), event(**data)) is holds


def test_every_condition_must_hold() -> None:
    both = (Condition("data.a", "gt", 1), Condition("data.b", "gt", 1))
    assert fits(rule(where=both), event(a=2, b=2))
    assert not fits(rule(where=both), event(a=2, b=1))


def test_how_a_device_was_found_alerts_only_if_asked_for() -> None:
    assert not fits(rule(), event(initial=True))
    assert fits(rule(initial=True), event(initial=True))


def test_a_family_does_not_cover_another_of_like_name() -> None:
    assert not fits(rule("fence.*"), event("fences.entered"))


def test_rules_come_in_the_order_given() -> None:
    rules = [rule(fences=("f",)), rule(), rule(devices=("a",)), rule("*")]
    matcher = Matcher([RuleVersion(9 - i, 1, wanted) for i, wanted in enumerate(rules)])
    assert [v.number for v in matcher.match(event(fence="f"))] == [9, 8, 7, 6]


def test_the_id_of_an_alert_is_for_ever() -> None:
    # Kept by those who were told; never to change.
    assert str(alert_id("r", "e")) == "1ebf67c7-7e0e-536d-b627-9cb3d0fa212d"
    assert alert_id("r", "e") == RuleVersion(1, 7, rule()).alert_id("e")
    assert alert_id("r1", "2e") != alert_id("r", "12e")


def test_a_critical_rule_knows_no_quiet_hours() -> None:
    always = Schedule("UTC", (Window("00:00", "24:00"),))
    assert RuleVersion(1, 1, rule(quiet_hours=always)).quiet_at(0)
    assert not RuleVersion(1, 1, rule(quiet_hours=always, severity="critical")).quiet_at(0)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Rule(id="r", name="r", types=()), "types"),
        (rule("fence"), "types"),
        (rule("*.entered"), "types"),
        (rule("alert.*"), "types"),
        (rule("trip.started", clears_on=("x",)), "clears_on"),
        (rule("*", clears_on=("fence.exited",)), "clears_on"),
        (rule("fence.entered", clears_on=("fence.*",)), "clears_on"),
        (rule("fence.*", clears_on=("fence.exited",)), "clears_on"),
        (rule(where=(Condition("subject", "eq", "x"),)), "where[0].field"),
        (rule(where=(Condition("data", "eq", "x"),)), "where[0].field"),
        (rule(where=(LATE, Condition("data.x", "eq", {}))), "where[1].value"),
        (rule(where=(Condition("data.x", "lt", value=True),)), "where[0].value"),
        (rule(where=(Condition("data.x", "in", "abc"),)), "where[0].value"),
        (rule(quiet_hours=Schedule("Nowhere", ())), "quiet_hours.time_zone"),
        (rule(severity="critical", escalate_after_s=1.0, escalate_to="info"), "escalate_to"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(wanted: Rule, field: str) -> None:
    with pytest.raises(InputError) as caught:
        check(wanted)
    assert caught.value.field == field
