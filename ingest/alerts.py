"""The follower of the event log that raises alerts, a part of the monitor.

It reads what is committed, in the order of the cursors, and writes alerts, their events and how
far it got in one transaction. So each event is judged exactly once, whoever is killed and however
many monitors run, and ingest pays nothing for rules.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from ingest.following import Following
from tracking.alert_life import Alert, announcements, elapse
from tracking.alerting import Desk
from tracking.feed import EventRecord, Publisher
from tracking.rules import Matcher
from tracking.store.alert_turn import (
    Turn,
    due_alerts,
    end_turn,
    events_between,
    furnish,
    take_turn,
)
from tracking.store.alerts import (
    drop_alerts,
    followed_tenants,
    occurrences,
    save_alerts,
    versions_of_alerts,
)
from tracking.store.connection import Connection
from tracking.store.eventlog import write_events
from tracking.store.rules import RuleBook, rule_book

logger = logging.getLogger(__name__)

# A batch of this size takes tens of milliseconds, which is how long an acknowledgement may wait.
_EVENTS_AT_ONCE = 1_000


class Judged(NamedTuple):
    """What one turn made, to be published after its commit."""

    tenant: str
    alerts: Sequence[Alert]
    records: Sequence[EventRecord]


class Judge:
    """Takes turns at tenants; keeps their compiled rules from turn to turn. One task uses it."""

    def __init__(self, events_at_once: int = _EVENTS_AT_ONCE) -> None:
        self._events_at_once = events_at_once
        self._books: dict[int, tuple[int, RuleBook, Matcher]] = {}

    async def turn(self, conn: Connection) -> Judged | None:
        """Judge the next events of one tenant and do what is due; None when nothing waits."""
        async with conn.transaction():
            turn = await take_turn(conn)
            if turn is None:
                return None
            book, matcher = await self._rules(conn, turn)
            upto = turn.upto if book.until is None else min(book.until, turn.upto)
            seen = await events_between(
                conn, turn.tenant.id, turn.cursor, upto, self._events_at_once
            )
            desk = Desk(matcher)
            await furnish(conn, turn, desk, seen)
            for one in seen:
                desk.take(one, turn.now_us)
            await self._elapse(conn, turn, desk)
            await drop_alerts(conn, desk.dropped)
            await save_alerts(conn, turn.tenant.id, desk.changed.values())
            full = len(seen) == self._events_at_once
            await end_turn(conn, turn, seen[-1].event.cursor if full else upto)
            records = await write_events(conn, occurrences(turn.tenant, desk.notices))
            told = [alert for alert in desk.changed.values() if alert.state != "suppressed"]
            return Judged(turn.tenant.name, told, records)

    async def _rules(self, conn: Connection, turn: Turn) -> tuple[RuleBook, Matcher]:
        known = self._books.get(turn.tenant.id)
        if known is not None:
            since, book, matcher = known
            ended = book.until is not None and turn.cursor >= book.until
            if book.revision == turn.rule_revision and since <= turn.cursor and not ended:
                return book, matcher
        book = await rule_book(conn, turn.tenant.id, turn.cursor)
        matcher = Matcher(book.versions)
        self._books[turn.tenant.id] = turn.cursor, book, matcher
        return book, matcher

    async def _elapse(self, conn: Connection, turn: Turn, desk: Desk) -> None:
        """End snoozes, escalate; an alert that an event just changed is left to the next turn."""
        due = [alert for alert in await due_alerts(conn, turn) if alert.id not in desk.changed]
        versions = await versions_of_alerts(conn, due)
        for alert in due:
            version = versions[alert.rule_number, alert.rule_version]
            desk.notices += elapse(alert, version, turn.now_us)
            desk.changed[alert.id] = alert


class Alerts:
    """The follower as a task of the monitor, ended by cancelling it."""

    def __init__(self, database_url: str, redis_url: str, publisher: Publisher) -> None:
        self._following = Following(database_url, redis_url, publisher, "alerts")

    async def follow(self) -> None:
        """Judge what is recorded, for ever."""
        await self._following.follow(
            Judge().turn, lambda judged: announcements(*judged), followed_tenants
        )
