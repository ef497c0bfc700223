"""The order service's own state: facts as the feed tells them, and all else seen through views.

A fact is an event by its id, in the highest revision that was told. Whatever is late, corrected or
taken back comes as a higher revision or as a fact that no longer holds, so nothing else is ever
updated: statuses, counts and what customers are to know are views over the facts that hold.
"""

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from examples.program import opened
from waymark.client import Event

TYPES = (
    "shipment.status_changed", "shipment.delayed", "shipment.eta_changed", "stop.arrived",
)  # fmt: skip

_SCHEMA = """
CREATE TABLE IF NOT EXISTS fact (
    id        TEXT PRIMARY KEY,
    revision  INTEGER NOT NULL,
    holds     INTEGER NOT NULL,     -- 0: it was taken back
    type      TEXT NOT NULL,
    shipment  TEXT NOT NULL,
    time      TEXT NOT NULL,        -- UTC with all digits, so that text sorts as time does
    cursor    INTEGER NOT NULL,     -- when it was told, compared with others
    data      TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fact_shipment ON fact (shipment, type, time);

-- What customers were told, in order: that something is so, or that it is not so after all. What
-- was known before the service began ('known') nobody is told any more.
CREATE TABLE IF NOT EXISTS journal (
    n         INTEGER PRIMARY KEY,
    shipment  TEXT NOT NULL,
    what      TEXT NOT NULL,
    act       TEXT NOT NULL CHECK (act IN ('known', 'told', 'withdrawn')),
    order_ref TEXT
);
CREATE INDEX IF NOT EXISTS journal_what ON journal (shipment, what, n);

-- Up to where the feed was worked in; no row: it never was.
CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), cursor INTEGER NOT NULL);

-- The first one comes from nothing; a shipment may be planned after it was driven.
CREATE VIEW IF NOT EXISTS status AS
SELECT shipment, data ->> 'order_ref' AS order_ref, data ->> 'from' AS was, data ->> 'to' AS became,
    time, CASE WHEN data ->> 'from' IS NULL THEN '' ELSE time END AS place
FROM fact WHERE type = 'shipment.status_changed' AND holds;

-- The last status; of several at one moment, it is the one from which no other goes on.
CREATE VIEW IF NOT EXISTS shipment AS
SELECT s.shipment AS id, s.order_ref, s.became AS status, s.time AS since, EXISTS (
    SELECT 1 FROM fact d
    WHERE d.shipment = s.shipment AND d.type = 'shipment.delayed' AND d.holds) AS delayed
FROM status s WHERE NOT EXISTS (
    SELECT 1 FROM status n WHERE n.shipment = s.shipment
    AND (n.place > s.place OR n.place = s.place AND n.was = s.became));

-- Of each stop the arrival that was told last, until it is reached.
CREATE VIEW IF NOT EXISTS eta AS
SELECT shipment, CAST(data ->> 'stop' AS INTEGER) AS stop, data ->> 'new' AS arrive FROM fact f
WHERE type = 'shipment.eta_changed' AND holds AND NOT EXISTS (
    SELECT 1 FROM fact o WHERE o.shipment = f.shipment AND o.holds
    AND o.data ->> 'stop' = f.data ->> 'stop'
    AND (o.type = 'stop.arrived' OR o.type = f.type AND o.cursor > f.cursor));

-- What customers are to know: each once, however often its time is corrected.
CREATE VIEW IF NOT EXISTS owed AS
SELECT DISTINCT shipment, CASE type WHEN 'shipment.delayed' THEN 'delayed at ' || (data ->> 'stop')
    ELSE data ->> 'to' END AS what
FROM fact WHERE holds AND (type = 'shipment.delayed'
    OR type = 'shipment.status_changed' AND data ->> 'to' IN ('in_transit', 'delivered'));

CREATE VIEW IF NOT EXISTS standing AS
SELECT shipment, what FROM journal j WHERE act <> 'withdrawn' AND NOT EXISTS (
    SELECT 1 FROM journal later
    WHERE later.shipment = j.shipment AND later.what = j.what AND later.n > j.n);
"""

_LEARN = """
INSERT INTO fact VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    revision = excluded.revision, holds = excluded.holds, cursor = excluded.cursor,
    data = excluded.data
WHERE excluded.revision > revision
"""

_TELL = """
INSERT INTO journal (shipment, what, act, order_ref)
SELECT shipment, what, :act, (SELECT order_ref FROM shipment WHERE id = :shipment) FROM (
    SELECT shipment, what FROM {one} WHERE shipment = :shipment
    EXCEPT SELECT shipment, what FROM {other} WHERE shipment = :shipment)
"""
_TOLD = _TELL.format(one="owed", other="standing")
_WITHDRAWN = _TELL.format(one="standing", other="owed")


_SHIPMENTS = """
SELECT s.order_ref, s.id, s.status, s.since, s.delayed,
    CASE WHEN s.status NOT IN ('delivered', 'cancelled') THEN (
        SELECT arrive FROM eta WHERE shipment = s.id ORDER BY stop DESC LIMIT 1) END
FROM shipment s WHERE s.order_ref IS NOT NULL ORDER BY 1, 2
"""


class Book:
    """The order service's database."""

    def __init__(self, path: str) -> None:
        self._db = opened(path, _SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @property
    def cursor(self) -> int | None:
        """Where to go on in the feed; None: begin with a snapshot."""
        row = self._db.execute("SELECT cursor FROM place").fetchone()
        return None if row is None else int(row[0])

    def begin(self, events: Iterable[Event], cursor: int) -> None:
        """Take what there is up to the feed's `cursor`: all of it and the cursor, or nothing.

        What happened while it was read lies behind the cursor: the feed brings it, as news.
        """
        with self._db:
            for event in events:
                if event.cursor <= cursor:
                    self._learn(event, "known")
            self._reach(cursor)

    def take(self, event: Event) -> None:
        """Work in an event: what it changes, what is told, and the cursor are one transaction.

        Were the cursor saved before, a crash in between would lose the event; were it saved
        after, the event would be worked in twice, which whatever counts or sends must not be.
        """
        with self._db:
            self._learn(event, "told")
            self._reach(event.cursor)

    def _learn(self, event: Event, act: str) -> None:
        if event.type not in TYPES or event.shipment is None:
            return
        self._db.execute(
            _LEARN,
            (event.id, event.revision, not event.retracted, event.type, event.shipment,
             _text(event.time), event.cursor, json.dumps(event.data)),
        )  # fmt: skip
        for statement, said in ((_TOLD, act), (_WITHDRAWN, "withdrawn")):
            self._db.execute(statement, {"shipment": event.shipment, "act": said})

    def _reach(self, cursor: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (cursor,))

    def truth(self) -> dict[str, Any]:
        """All orders by their reference, and the journal, as of one cursor."""
        with self._db:
            self._db.execute("BEGIN")
            return {"cursor": self.cursor, "orders": self._orders(), "journal": self._journal()}

    def _orders(self) -> dict[str, Any]:
        orders: dict[str, Any] = {}
        for ref, id_, status, since, delayed, eta in self._db.execute(_SHIPMENTS):
            order = orders.setdefault(ref, {"delivered": 0, "delayed": 0, "shipments": {}})
            order["delivered"] += status == "delivered"
            order["delayed"] += delayed
            told = None if eta is None else _text(datetime.fromisoformat(eta))
            order["shipments"][id_] = {"status": status, "since": since, "eta": told}
        return orders

    def _journal(self) -> list[dict[str, Any]]:
        found = self._db.execute("SELECT shipment, what, act, order_ref FROM journal ORDER BY n")
        found.row_factory = sqlite3.Row
        return [dict(row) for row in found]


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
