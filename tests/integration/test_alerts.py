"""Rules and alerts on a real database: once each, whatever comes again, late or not at all."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
import redis.asyncio

from ingest.alerts import Alerts, Judge
from tests.integration.alert_rig import NOON_US, AlertRig, rule
from tests.services import TIMEOUT_FACTOR
from tracking.alert_life import STATES, Act, Verb, alert_view
from tracking.feed import Publisher
from tracking.fences import Schedule, Window
from tracking.rules import Condition
from tracking.store.alerts import Tenant, act_on
from tracking.store.connection import Connection, connect
from tracking.store.eventlog import Occurrence
from tracking.times import to_us

HOUR = 3_600.0
SUPPRESSED = ("suppressed",)


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[AlertRig]:
    async with AlertRig(database_url) as rig:
        yield rig


def retold(occurrence: Occurrence, **data: object) -> Occurrence:
    """The event with other data, as a repair amends it."""
    return msgspec.structs.replace(occurrence, data=occurrence.data | data, late=True)


class TestOnce:
    async def test_an_event_that_fits_a_rule_opens_an_alert_and_says_so(
        self, rig: AlertRig
    ) -> None:
        await rig.save(rule(severity="critical"))
        occurrence = await rig.happen(1, fence_name="The depot")
        await rig.happen(2, "fence.exited")
        [judged, _] = await rig.follow()
        [alert] = await rig.alerts()
        assert (alert.state, alert.severity, alert.device, alert.fence) == (
            "open", "critical", "van", "depot",
        )  # fmt: skip
        assert alert.event_id == str(occurrence.id)
        assert alert.opened_us == occurrence.time_us
        [record] = judged.records
        assert (record.type, record.subject, record.time_us) == (
            "alert.opened", "van", occurrence.time_us,
        )  # fmt: skip
        assert record.data == {
            "alert": str(alert.id),
            "rule": "r1",
            "rule_version": 1,
            "severity": "critical",
            "state": "open",
            "event": {
                "id": str(occurrence.id),
                "type": "fence.entered",
                "time": "2026-03-08T12:00:01Z",
            },
            "fence": "depot",
            "fence_name": "The depot",
            "lon": 5.1,
            "lat": 52.1,
        }

    async def test_a_redelivered_event_alerts_nobody_again(self, rig: AlertRig) -> None:
        await rig.save(rule())
        occurrence = await rig.happen(1)
        await rig.follow()
        assert await rig.record(occurrence) == []
        # As if the log's position had been lost as well.
        await rig.conn.execute("UPDATE alert_cursor SET cursor = 0")
        assert [judged.records for judged in await rig.follow()] == [[]]
        assert await rig.states() == [(1, "open")]
        assert await rig.told() == [("alert.opened", "")]

    async def test_two_rules_alert_each_once(self, rig: AlertRig) -> None:
        await rig.save(rule("a"))
        await rig.save(rule("b", "fence.*"))
        await rig.happen(1)
        await rig.follow()
        alerts = await rig.alerts()
        assert [a.rule for a in alerts] == ["a", "b"]
        assert len({a.id for a in alerts}) == 2

    async def test_events_about_alerts_raise_none(self, rig: AlertRig) -> None:
        await rig.save(rule("all", "*"))
        await rig.happen(1)
        await rig.follow()
        assert len(await rig.alerts()) == 1

    async def test_many_followers_at_once_raise_each_alert_once(
        self, rig: AlertRig, database_url: str
    ) -> None:
        await rig.save(rule("a", "fence.*", cooldown_s=10))
        await rig.save(rule("b"))
        for second in range(40):
            await rig.record(
                *[await rig.occurrence(second + i / 100, device=f"d{i}") for i in range(25)]
            )

        async def follow() -> int:
            conn, judge, taken = await connect(database_url, name="f"), Judge(50), 0
            async with conn:
                while await uncovered(conn):
                    taken += await judge.turn(conn) is not None
            return taken

        taken = await asyncio.gather(follow(), follow(), follow())
        assert sum(1 for n in taken if n) >= 2, "only one of them worked"
        counts = Counter(a.rule for a in await rig.alerts())
        assert counts == {"a": 4 * 25, "b": 40 * 25}
        assert Counter(await rig.told()) == {("alert.opened", ""): 44 * 25}
        assert {a.suppressed_n for a in await rig.alerts(rule="a")} == {9}
        cursors = [row[0] for row in await rig.rows("SELECT cursor FROM event ORDER BY 1")]
        assert all(b == a + 1 for a, b in pairwise(cursors))

    @pytest.mark.parametrize("before", ["save_alerts", "end_turn", "write_events", "commit"])
    async def test_a_monitor_killed_between_reading_and_writing_loses_and_repeats_none(
        self,
        rig: AlertRig,
        database_url: str,
        monkeypatch: pytest.MonkeyPatch,
        before: str,
    ) -> None:
        await rig.save(rule(cooldown_s=5))
        for second in range(20):
            await rig.happen(second)
        victim = await connect(database_url, name="victim")
        killed = []

        async def kill(*_: object) -> None:
            killed.append(before)
            await rig.rows("SELECT pg_terminate_backend(%s)", victim.info.backend_pid)
            await victim.execute("SELECT 1")

        if before == "commit":
            turn = Judge(7).turn

            async def then_die() -> None:
                async with victim.transaction():
                    await turn(victim)
                    await kill()

            dying = then_die()
        else:
            monkeypatch.setattr(f"ingest.alerts.{before}", kill)
            dying = Judge(7).turn(victim)  # type: ignore[assignment]
        with pytest.raises(psycopg.OperationalError):
            await dying
        assert killed == [before]
        monkeypatch.undo()
        await victim.close()
        assert await rig.alerts() == []
        await rig.follow()
        assert await rig.states() == [(s, "open") for s in (0, 5, 10, 15)]
        assert await rig.told() == [("alert.opened", "")] * 4

    @pytest.mark.parametrize("seed", range(12))
    async def test_the_size_of_turns_changes_nothing(self, database_url: str, seed: int) -> None:
        """What a turn loads is all that its events concern."""
        outcomes = []
        rng = random.Random(seed)
        script = a_week(rng)
        for size in (1, 3, 1_000):
            name = f"t{size}"
            async with AlertRig(database_url, name) as one:
                one.judge = Judge(size)
                for wanted in (
                    rule("a", "fence.entered", cooldown_s=60, clears_on=("fence.exited",)),
                    rule("b", "fence.*", cooldown_s=20, fences=("depot",)),
                    rule("c", where=(Condition("data.n", "gt", 4),), escalate_after_s=HOUR),
                ):
                    await one.save(wanted)
                for step in script:
                    await one.record(*[await made(one, *event) for event in step])
                    await one.follow()
                outcomes.append(await outcome(one))
        assert outcomes[0] == outcomes[1] == outcomes[2]
        assert {"open", "resolved", "suppressed"} <= {line[3] for line in outcomes[0]}


class TestRules:
    async def test_a_rule_judges_what_is_recorded_after_it(self, rig: AlertRig) -> None:
        await rig.happen(1)
        await rig.save(rule("a"))
        await rig.happen(2)
        await rig.follow()
        assert await rig.states() == [(2, "open")]

    async def test_a_late_follower_judges_by_the_rules_of_the_time(self, rig: AlertRig) -> None:
        await rig.save(rule("a", severity="info"))
        await rig.happen(1)
        await rig.save(rule("a", severity="critical"))
        await rig.happen(2)
        await rig.delete("a")
        await rig.happen(3)
        await rig.save(rule("a", severity="warning"))
        await rig.happen(4)
        await rig.follow()
        assert [(a.severity, a.rule_version) for a in await rig.alerts()] == [
            ("info", 1), ("critical", 2), ("warning", 4),
        ]  # fmt: skip

    async def test_a_running_follower_hears_of_every_edit(self, rig: AlertRig) -> None:
        for second, severity in enumerate(("info", "warning", "critical")):
            await rig.save(rule("a", severity=severity))
            await rig.happen(second)
            await rig.follow()
        assert [a.severity for a in await rig.alerts()] == ["info", "warning", "critical"]

    async def test_a_rule_saved_unchanged_stays_the_version_it_was(self, rig: AlertRig) -> None:
        where = (Condition("data.inside_s", "in", [1, "x"]),)
        one = rule("a", where=where, quiet_hours=Schedule("UTC", (Window("01:00", "02:00"),)))
        assert (await rig.save(one)).version.version == 1
        assert (await rig.save(one)).version.version == 1

    async def test_groups_and_tags_of_the_device_count(self, rig: AlertRig) -> None:
        await rig.save(rule("g", groups=("north",)))
        await rig.save(rule("t", tags=("cold",)))
        await rig.device("a", groups=["north", "x"])
        await rig.device("b", tags=["cold"])
        for name in "abc":
            await rig.happen(1, device=name)
        await rig.follow()
        assert [(a.rule, a.device) for a in await rig.alerts()] == [("g", "a"), ("t", "b")]

    async def test_rules_of_one_tenant_never_see_events_of_another(
        self, rig: AlertRig, database_url: str
    ) -> None:
        async with AlertRig(database_url, "other") as other:
            await rig.save(rule("a"))
            await other.save(rule("a", "fence.exited"))
            await rig.happen(1, "fence.exited")
            await other.happen(2)
            await other.happen(3, "fence.exited")
            await rig.follow()
            assert await rig.states() == []
            assert await other.states() == [(3, "open")]


class TestCooldown:
    async def test_within_the_cooldown_of_a_rule_device_and_fence_there_is_one(
        self, rig: AlertRig
    ) -> None:
        await rig.save(rule(cooldown_s=60))
        for at_s in (0, 30, 59.999, 60, 70):
            await rig.happen(at_s)
        await rig.happen(10, fence="yard")
        await rig.happen(10, device="truck")
        await rig.follow()
        assert await rig.states() == [(0, "open"), (10, "open"), (10, "open"), (60, "open")]
        assert [a.suppressed_n for a in await rig.alerts()] == [2, 0, 0, 1]
        assert await rig.states(states=SUPPRESSED) == [
            (30, "suppressed"), (59.999, "suppressed"), (70, "suppressed"),
        ]  # fmt: skip

    async def test_turns_do_not_show(self, rig: AlertRig) -> None:
        await rig.save(rule(cooldown_s=60))
        for at_s in (0, 30, 59.999, 60, 70):
            await rig.happen(at_s)
            await rig.follow()
        assert await rig.states() == [(0, "open"), (60, "open")]
        assert [a.suppressed_n for a in await rig.alerts()] == [2, 1]

    async def test_a_late_event_is_silent_within_the_cooldown_of_a_later_one(
        self, rig: AlertRig
    ) -> None:
        await rig.save(rule(cooldown_s=60))
        await rig.happen(100)
        await rig.follow()
        await rig.happen(50, late=True)
        await rig.happen(20, late=True)
        await rig.follow()
        assert await rig.states() == [(20, "open"), (100, "open")]

    async def test_whom_a_retracted_alert_silenced_speaks_up(self, rig: AlertRig) -> None:
        await rig.save(rule(cooldown_s=60))
        spurious = await rig.happen(0)
        for at_s in (30, 40, 100):
            await rig.happen(at_s)
        await rig.follow()
        assert await rig.states() == [(0, "open"), (100, "open")]
        await rig.record(spurious.retracted())
        await rig.follow()
        # 30 was silent because of 0; now nothing within a minute of it has alerted.
        assert await rig.states() == [(0, "resolved"), (30, "open"), (100, "open")]
        assert await rig.states(states=SUPPRESSED) == [(40, "suppressed")]
        assert [a.suppressed_n for a in await rig.alerts()] == [0, 1, 0]

    async def test_a_retracted_event_that_was_silent_is_forgotten(self, rig: AlertRig) -> None:
        await rig.save(rule(cooldown_s=60))
        await rig.happen(0)
        silent = await rig.happen(30)
        await rig.follow()
        await rig.record(silent.retracted())
        await rig.follow()
        assert await rig.states(states=SUPPRESSED) == []
        assert [a.suppressed_n for a in await rig.alerts()] == [0]
        await rig.record(silent)
        await rig.follow()
        assert await rig.states(states=SUPPRESSED) == [(30, "suppressed")]
        assert [a.suppressed_n for a in await rig.alerts()] == [1]


class TestQuietHours:
    # 22:00 to 06:00 in Amsterdam; the night to 2026-03-29 has seven hours.
    NIGHT = Schedule("Europe/Amsterdam", (Window("22:00", "06:00"),))

    @staticmethod
    def at_s(text: str) -> float:
        return (to_us(datetime.fromisoformat(text).astimezone(UTC)) - NOON_US) / 1e6

    async def test_they_follow_the_wall_clock_over_the_change_to_summer_time(
        self, rig: AlertRig
    ) -> None:
        await rig.save(rule(quiet_hours=self.NIGHT))
        await rig.save(rule("loud", severity="critical", quiet_hours=self.NIGHT))
        moments = {
            "2026-03-28T20:59:59Z": "open",
            "2026-03-28T21:00:00Z": "suppressed",
            "2026-03-29T03:59:59Z": "suppressed",
            "2026-03-29T04:00:00Z": "open",
            "2026-03-29T19:59:59Z": "open",
            "2026-03-29T20:00:00Z": "suppressed",
        }
        for text in moments:
            await rig.happen(self.at_s(text))
        await rig.follow()
        both = ("open", "suppressed")
        assert [state for _, state in await rig.states(rule="r1", states=both)] == list(
            moments.values()
        )
        assert [state for _, state in await rig.states(rule="loud", states=both)] == ["open"] * 6

    async def test_a_quiet_event_starts_no_cooldown(self, rig: AlertRig) -> None:
        await rig.save(rule(quiet_hours=self.NIGHT, cooldown_s=600))
        await rig.happen(self.at_s("2026-03-28T05:59:00+01:00"))
        await rig.happen(self.at_s("2026-03-28T06:01:00+01:00"))
        await rig.follow()
        assert len(await rig.alerts()) == 1
        [silent] = await rig.alerts(states=SUPPRESSED)
        assert (silent.suppressed_reason, silent.suppressed_by) == ("quiet", None)


class TestRepairs:
    async def test_a_retraction_resolves_and_says_so_and_a_return_reopens(
        self, rig: AlertRig
    ) -> None:
        await rig.save(rule())
        occurrence = await rig.happen(1)
        await rig.follow()
        await rig.record(occurrence.retracted())
        await rig.follow()
        [alert] = await rig.alerts()
        assert (alert.state, alert.resolved_reason, alert.event_status) == (
            "resolved", "retracted", "retracted",
        )  # fmt: skip
        await rig.record(occurrence)
        await rig.follow()
        assert await rig.states() == [(1, "open")]
        assert await rig.told() == [
            ("alert.opened", ""),
            ("alert.resolved", "retracted"),
            ("alert.reopened", "reinstated"),
        ]

    async def test_a_retraction_closes_alerts_of_a_rule_that_is_gone(self, rig: AlertRig) -> None:
        await rig.save(rule())
        occurrence = await rig.happen(1)
        await rig.follow()
        await rig.delete("r1")
        await rig.record(occurrence.retracted())
        await rig.follow()
        assert await rig.states() == [(1, "resolved")]

    async def test_an_event_retracted_before_it_was_judged_alerts_nobody(
        self, rig: AlertRig
    ) -> None:
        await rig.save(rule())
        occurrence = await rig.happen(1)
        await rig.record(occurrence.retracted())
        await rig.follow()
        assert await rig.alerts() == []

    async def test_an_amended_event_amends_the_alert_and_alerts_nobody_again(
        self, rig: AlertRig
    ) -> None:
        await rig.save(rule())
        occurrence = await rig.happen(1)
        await rig.follow()
        await rig.record(retold(occurrence, lon=6.0))
        [judged, *_] = await rig.follow()
        [alert] = await rig.alerts()
        assert (alert.data["lon"], alert.late, alert.state) == (6.0, False, "open")
        [record] = judged.records
        assert (record.type, record.revision, record.data["lon"]) == ("alert.opened", 2, 6.0)
        assert len(await rig.told()) == 1

    async def test_an_event_that_no_longer_fits_takes_its_alert_along(self, rig: AlertRig) -> None:
        condition = Condition("data.inside_s", "gt", 600)
        await rig.save(rule("r1", "fence.exited", where=(condition,)))
        occurrence = await rig.happen(1, "fence.exited", inside_s=700)
        await rig.follow()
        await rig.record(retold(occurrence, inside_s=500))
        await rig.follow()
        [alert] = await rig.alerts()
        assert (alert.state, alert.resolved_reason) == ("resolved", "amended")
        await rig.record(retold(occurrence, inside_s=900))
        await rig.follow()
        assert await rig.states() == [(1, "open")]

    async def test_an_event_that_comes_to_fit_alerts(self, rig: AlertRig) -> None:
        condition = Condition("data.inside_s", "gt", 600)
        await rig.save(rule("r1", "fence.exited", where=(condition,)))
        occurrence = await rig.happen(1, "fence.exited", inside_s=500)
        await rig.follow()
        await rig.record(retold(occurrence, inside_s=700))
        await rig.follow()
        [alert] = await rig.alerts()
        assert (alert.state, alert.late) == ("open", True)

    async def test_a_repair_closes_no_alert_of_a_rule_without_late_events(
        self, rig: AlertRig
    ) -> None:
        await rig.save(rule(late="exclude"))
        occurrence = await rig.happen(1)
        await rig.happen(2, late=True)
        await rig.follow()
        await rig.record(retold(occurrence, lon=6.0))
        await rig.follow()
        assert await rig.states() == [(1, "open")]

    async def test_what_a_user_resolved_stays_resolved(self, rig: AlertRig) -> None:
        await rig.save(rule())
        occurrence = await rig.happen(1)
        await rig.follow()
        await act(rig, "resolve")
        await rig.record(occurrence.retracted())
        await rig.follow()
        await rig.record(occurrence)
        await rig.follow()
        [alert] = await rig.alerts()
        assert (alert.state, alert.resolved_reason) == ("resolved", "user")


class TestClearing:
    async def test_the_end_of_a_thing_resolves_its_alert_at_the_same_fence(
        self, rig: AlertRig
    ) -> None:
        await rig.save(rule(clears_on=("fence.exited",)))
        await rig.happen(1)
        await rig.happen(2, fence="yard")
        await rig.happen(3, device="truck")
        leaving = await rig.happen(10, "fence.exited")
        await rig.follow()
        assert await rig.states() == [(1, "resolved"), (2, "open"), (3, "open")]
        [first, *_] = await rig.alerts()
        assert (first.resolved_reason, first.resolved_event) == ("cleared", str(leaving.id))
        await rig.record(leaving.retracted())
        await rig.follow()
        assert await rig.states() == [(1, "open"), (2, "open"), (3, "open")]

    async def test_it_resolves_what_was_before_it_only(self, rig: AlertRig) -> None:
        await rig.save(rule(clears_on=("fence.exited",)))
        await rig.happen(20)
        await rig.follow()
        await rig.happen(10, "fence.exited", late=True)
        await rig.follow()
        assert await rig.states() == [(20, "open")]

    async def test_a_late_event_that_was_over_is_opened_and_cleared(self, rig: AlertRig) -> None:
        await rig.save(rule("r1", "speed.exceeded", clears_on=("fence.*",)))
        leaving = await rig.happen(10, "fence.exited")
        await rig.happen(5, "fence.exited", fence="yard")
        await rig.follow()
        await rig.happen(1, "speed.exceeded", late=True)
        await rig.follow()
        [alert] = await rig.alerts()
        assert (alert.state, alert.resolved_event) == ("resolved", str(leaving.id))
        assert await rig.told() == [("alert.opened", ""), ("alert.resolved", "cleared")]


class TestDeadlines:
    async def test_a_snooze_ends_once(self, rig: AlertRig) -> None:
        await rig.save(rule())
        await rig.happen(1)
        await rig.follow()
        await act(rig, "snooze", for_s=HOUR)
        await rig.follow()
        assert await rig.states() == [(1, "snoozed")]
        await rig.conn.execute("UPDATE alert SET due_at = now(), snoozed_until = now()")
        await rig.follow()
        assert await rig.states() == [(1, "open")]
        assert [t for t, _ in await rig.told()] == [
            "alert.opened", "alert.snoozed", "alert.reopened",
        ]  # fmt: skip

    async def test_what_nobody_takes_up_escalates_once(
        self, rig: AlertRig, database_url: str
    ) -> None:
        await rig.save(rule(severity="info", escalate_after_s=HOUR, escalate_to="critical"))
        for second in range(30):
            await rig.happen(second)
        await rig.follow()
        taken, *_ = await rig.alerts()
        await act(rig, "acknowledge", taken.id)
        await rig.follow()
        assert {state for _, state in await rig.states()} == {"open", "acknowledged"}
        await rig.conn.execute("UPDATE alert SET due_at = now() WHERE due_at IS NOT NULL")

        async def follow() -> None:
            async with await connect(database_url, name="f") as conn:
                while await uncovered(conn):
                    await Judge(5).turn(conn)

        await asyncio.gather(follow(), follow())
        counts = Counter((a.state, a.severity) for a in await rig.alerts())
        assert counts == {("acknowledged", "info"): 1, ("escalated", "critical"): 29}
        assert Counter(t for t, _ in await rig.told())["alert.escalated"] == 29

    async def test_an_alert_is_due_by_our_clock_however_late_its_event(self, rig: AlertRig) -> None:
        await rig.save(rule(escalate_after_s=HOUR))
        await rig.happen(-30 * 24 * HOUR)
        await rig.follow()
        assert await rig.states() == [(-30 * 24 * HOUR, "open")]
        [(ahead,)] = await rig.rows("SELECT due_at - now() > interval '59 minutes' FROM alert")
        assert ahead


async def test_the_monitor_tells_of_an_alert_on_redis_at_once(
    rig: AlertRig, database_url: str, valkey_url: str
) -> None:
    await rig.save(rule())
    channels = "wm:default:events", "wm:default:alerts"
    async with (
        Publisher(valkey_url) as publisher,
        redis.asyncio.Redis.from_url(valkey_url) as client,
        client.pubsub() as heard,
    ):
        await heard.subscribe(*channels)
        following = asyncio.create_task(Alerts(database_url, valkey_url, publisher).follow())
        try:
            occurrence = await rig.happen(1)
            told: dict[bytes, Any] = {}
            async with asyncio.timeout(20 * TIMEOUT_FACTOR):
                while len(told) < 2:
                    message = await heard.get_message(ignore_subscribe_messages=True, timeout=5)
                    if message is not None:
                        told[message["channel"]] = msgspec.json.decode(message["data"])
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    [alert] = await rig.alerts()
    assert told[b"wm:default:alerts"] == msgspec.to_builtins(alert_view(alert))
    assert told[b"wm:default:alerts"]["event"]["id"] == str(occurrence.id)
    event = told[b"wm:default:events"]
    assert (event["type"], event["cursor"]) == ("alert.opened", 2)
    assert event["data"]["alert"] == str(alert.id)


Told = tuple[float, str, str, str, int, str]


def a_week(rng: random.Random) -> list[list[Told]]:
    """Steps of events: new, amended, retracted and back again, in no order."""
    known: list[Told] = []
    steps = []
    for _ in range(12):
        step: dict[object, Told] = {}
        for _ in range(rng.randint(1, 8)):
            if known and rng.random() < 0.5:
                *key, _, _ = rng.choice(known)
            else:
                key = [
                    rng.randrange(0, 300, 10),
                    rng.choice(["fence.entered", "fence.entered", "fence.exited"]),
                    rng.choice(["van", "truck"]),
                    rng.choice(["depot", "yard"]),
                ]
            told = (*key, rng.randrange(9), rng.choice(["active", "active", "retracted"]))
            step[tuple(key)] = told  # type: ignore[assignment]
        known += step.values()
        steps.append(list(step.values()))
    return steps


async def made(rig: AlertRig, *told: Any) -> Occurrence:  # noqa: ANN401 -- Told
    at_s, type_, device, fence, n, status = told
    occurrence = await rig.occurrence(at_s, type_, device=device, fence=fence, n=n, late=True)
    return msgspec.structs.replace(occurrence, status=status)


async def outcome(rig: AlertRig) -> list[tuple[Any, ...]]:
    found = await rig.alerts(states=STATES)
    names = {a.id: (a.rule, a.opened_us, a.event_type, a.device, a.fence) for a in found}
    return sorted(
        (
            *names[a.id][:2],
            a.event_type,
            a.state,
            a.device,
            a.fence,
            a.data["n"],
            str(a.resolved_reason),
            a.suppressed_n,
            str(names.get(a.suppressed_by)),
            a.due_us is None,
        )
        for a in found
    )


async def act(rig: AlertRig, verb: Verb, *ids: UUID, for_s: float = 0) -> None:
    wanted = ids or [alert.id for alert in await rig.alerts()]
    tenant = Tenant(rig.tenant, rig.tenant_id)
    done = await act_on(
        rig.conn,
        tenant,
        wanted,
        lambda now_us: Act(verb, "ada", now_us, None, now_us + round(for_s * 1e6)),
    )
    assert not done.refused
    assert len(done.records) == len(wanted)


async def uncovered(conn: Connection) -> bool:
    """Whether anything still waits for a follower."""
    found = await conn.execute(
        "SELECT EXISTS (SELECT 1 FROM alert_cursor c JOIN tenant t ON t.id = c.tenant_id "
        "WHERE c.cursor < t.feed_cursor) OR EXISTS (SELECT 1 FROM alert WHERE due_at <= now())"
    )
    return bool((await found.fetchone() or (False,))[0])
