"""Events in the log, rules, and turns of the follower, by hand."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Self

from ingest.alerts import Judge, Judged
from tracking.feed import EventRecord
from tracking.rules import Rule
from tracking.store.alerts import AlertFilter, list_alerts
from tracking.store.connection import Connection, connect
from tracking.store.eventlog import Device, Occurrence, write_events
from tracking.store.rules import StoredRule, delete_rule, save_rule
from tracking.times import to_us

NOON_US = to_us(datetime(2026, 3, 8, 12, tzinfo=UTC))


def rule(id_: str = "r1", *types: str, **members: Any) -> Rule:  # noqa: ANN401 -- Rule
    return Rule(id=id_, name=id_, types=types or ("fence.entered",), **members)


class AlertRig:
    """One tenant's log and its follower. An async context manager."""

    def __init__(self, database_url: str, tenant: str = "default") -> None:
        self._database_url = database_url
        self._devices: dict[str, Device] = {}
        self.tenant = tenant
        self.judge = Judge()
        self.conn: Connection

    async def __aenter__(self) -> Self:
        self.conn = await connect(self._database_url, name="alert-rig")
        await self.conn.execute(
            "INSERT INTO tenant (name) VALUES (%s) ON CONFLICT DO NOTHING", (self.tenant,)
        )
        [(self.tenant_id,)] = await self.rows("SELECT id FROM tenant WHERE name = %s", self.tenant)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.conn.close()

    async def device(
        self, name: str, groups: Iterable[str] = (), tags: Iterable[str] = ()
    ) -> Device:
        if name not in self._devices:
            [(id_,)] = await self.rows(
                "INSERT INTO device (tenant_id, name, groups, tags) VALUES (%s, %s, %s, %s) "
                "RETURNING id",
                self.tenant_id, name, list(groups), list(tags),
            )  # fmt: skip
            self._devices[name] = Device(self.tenant, self.tenant_id, name, id_)
        return self._devices[name]

    async def occurrence(
        self,
        at_s: float,
        type_: str = "fence.entered",
        device: str = "van",
        **data: Any,  # noqa: ANN401 -- JSON
    ) -> Occurrence:
        """An event `at_s` after noon, of fence `depot` unless it says otherwise."""
        data = {"fence": "depot", "lon": 5.1, "lat": 52.1} | data
        late = bool(data.pop("late", False))
        found = await self.device(device)
        return found.occurrence(
            type_, NOON_US + round(at_s * 1e6), data, rule=str(data["fence"]), late=late
        )

    async def record(self, *occurrences: Occurrence) -> list[EventRecord]:
        async with self.conn.transaction():
            return await write_events(self.conn, occurrences)

    async def happen(self, at_s: float, type_: str = "fence.entered", **more: Any) -> Occurrence:  # noqa: ANN401 -- as above
        occurrence = await self.occurrence(at_s, type_, **more)
        await self.record(occurrence)
        return occurrence

    async def save(self, wanted: Rule) -> StoredRule:
        stored = await save_rule(self.conn, self.tenant_id, wanted, author="test")
        assert stored is not None
        return stored

    async def delete(self, rule_id: str) -> None:
        assert await delete_rule(self.conn, self.tenant_id, rule_id, "test")

    async def follow(self) -> list[Judged]:
        """Take turns until nothing waits."""
        turns = []
        while judged := await self.judge.turn(self.conn):
            turns.append(judged)
            assert len(turns) < 1_000, "the follower never comes to rest"
        return turns

    async def alerts(self, **wanted: Any) -> list[Any]:  # noqa: ANN401 -- AlertFilter
        """Alerts, the oldest event first."""
        found = await list_alerts(
            self.conn, self.tenant_id, AlertFilter(**wanted), before=None, limit=10_000
        )
        return sorted((one.alert for one in found), key=lambda a: (a.opened_us, a.rule))

    async def states(self, **wanted: Any) -> list[tuple[float, str]]:  # noqa: ANN401 -- AlertFilter
        """(seconds after noon, state) of each alert."""
        found = await self.alerts(**wanted)
        return [((a.opened_us - NOON_US) / 1e6, a.state) for a in found]

    async def told(self) -> list[tuple[str, str]]:
        """(type, reason) of all events about alerts, in the order of their cursors."""
        return await self.rows(
            "SELECT type, coalesce(data ->> 'reason', '') FROM event WHERE type LIKE 'alert.%%' "
            "AND tenant_id = %s ORDER BY cursor",
            self.tenant_id,
        )

    async def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        cursor = await self.conn.execute(query.encode(), parameters)
        return await cursor.fetchall()
