"""The pickup service's own state: what it was asked for, what it heard, what it still has to do.

What is to be done elsewhere is written down first and done afterwards, by whoever reads it there:
a pickup that is `asked` is to be made, an errand that is `due` to be run, a pickup that was hinted
at since it was `read` to be read again. Each may be done twice without harm, so a crash between
doing it and noting that it was done costs a repetition and changes nothing.
"""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from examples.program import opened
from waymark.client import Event, Pickup

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pickup (
    id        TEXT PRIMARY KEY,
    shipment  TEXT NOT NULL,        -- of which it is a stop
    body      TEXT NOT NULL,        -- as it was asked for
    state     TEXT NOT NULL DEFAULT 'asked',  -- made; or why it was refused
    status    TEXT,
    planned   TEXT,
    until     TEXT,
    attempts  INTEGER NOT NULL DEFAULT 0,
    hinted    INTEGER NOT NULL DEFAULT 0,
    read      INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pickup_shipment ON pickup (shipment);

-- Webhooks that were worked in, by their webhook-id. Each is sent again until it is answered.
CREATE TABLE IF NOT EXISTS letter (id TEXT PRIMARY KEY) WITHOUT ROWID;

-- A failed attempt is planned anew, once: the key is the event that told of it.
CREATE TABLE IF NOT EXISTS errand (
    attempt   TEXT PRIMARY KEY,
    pickup    TEXT NOT NULL REFERENCES pickup,
    planned   TEXT NOT NULL,
    until     TEXT NOT NULL,
    state     TEXT NOT NULL DEFAULT 'due'     -- done; or why it was refused
) WITHOUT ROWID;
"""

# When somebody comes again, and for how long he is waited for.
_AGAIN = timedelta(days=1)
_WAIT = timedelta(hours=2)


class Errand(NamedTuple):
    """A failed attempt and the window for which the pickup is planned anew."""

    attempt: str
    pickup: str
    planned: str
    until: str


class Counter:
    """The pickup service's database."""

    def __init__(self, path: str) -> None:
        self._db = opened(path, _SCHEMA, synchronous="FULL")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def ask(self, id_: str, body: Mapping[str, Any]) -> bool:
        """Write down that a pickup is wanted; False when it is already."""
        with self._db:
            done = self._db.execute(
                "INSERT OR IGNORE INTO pickup (id, shipment, body) VALUES (?, ?, ?)",
                (id_, body.get("shipment", id_), json.dumps({**body, "id": id_})),
            )
            return bool(done.rowcount)

    def hear(self, event: Event) -> None:
        """Work in a webhook: that it came and all that follows of it are one transaction."""
        with self._db:
            new = self._db.execute(
                "INSERT OR IGNORE INTO letter VALUES (?)", (f"{event.id}_{event.revision}",)
            )
            if not new.rowcount:
                return
            self._db.execute(
                "UPDATE pickup SET hinted = hinted + 1 WHERE id = ? OR shipment = ?",
                (event.data.get("pickup"), event.shipment),
            )
            if event.type == "pickup.attempted" and event.data.get("planned_from") is None:
                self._plan_anew(event)

    def _plan_anew(self, event: Event) -> None:
        planned = event.time.replace(microsecond=0) + _AGAIN
        self._db.execute(
            "INSERT OR IGNORE INTO errand (attempt, pickup, planned, until) "
            "SELECT ?, id, ?, ? FROM pickup WHERE id = ?",
            (event.id, _text(planned), _text(planned + _WAIT), event.data["pickup"]),
        )

    def asked(self) -> list[tuple[str, dict[str, Any]]]:
        """Pickups that are still to be made."""
        found = self._db.execute("SELECT id, body FROM pickup WHERE state = 'asked'")
        return [(id_, json.loads(body)) for id_, body in found]

    def due(self) -> list[Errand]:
        """Errands that are still to be run, in the order in which somebody is to come."""
        found = self._db.execute(
            "SELECT attempt, pickup, planned, until FROM errand WHERE state = 'due' ORDER BY 3"
        )
        return [Errand(*row) for row in found]

    def unread(self) -> list[tuple[str, int]]:
        """Pickups to be read, with the hint up to which that will have been."""
        found = self._db.execute(
            "SELECT id, hinted FROM pickup WHERE state = 'made' AND hinted > read"
        )
        return found.fetchall()

    def made(self, id_: str, state: str = "made") -> None:
        """Note that a pickup is there, or why it will not be; it is to be read."""
        with self._db:
            self._db.execute(
                "UPDATE pickup SET state = ?, hinted = hinted + 1 WHERE id = ?", (state, id_)
            )

    def ran(self, errand: Errand, state: str = "done") -> None:
        """Note that an errand was run, or why it cannot be."""
        with self._db:
            self._db.execute(
                "UPDATE errand SET state = ? WHERE attempt = ?", (state, errand.attempt)
            )

    def read(self, told: Pickup, hint: int) -> None:
        """Put a pickup as it was read; hints that came meanwhile stay open."""
        with self._db:
            self._db.execute(
                "UPDATE pickup SET status = ?, planned = ?, until = ?, attempts = ?, read = ? "
                "WHERE id = ?",
                (told.status, _text(told.planned_from), _text(told.planned_until),
                 len(told.attempts), hint, told.id),
            )  # fmt: skip

    def truth(self) -> dict[str, Any]:
        """All pickups and errands, and how much is still to be done."""
        with self._db:
            self._db.execute("BEGIN")
            return {
                "todo": len(self.asked()) + len(self.due()) + len(self.unread()),
                "pickups": self._rows("id, state, status, planned, until, attempts", "pickup"),
                "errands": self._rows("attempt, pickup, planned, state", "errand"),
            }

    def _rows(self, columns: str, table: str) -> list[dict[str, Any]]:
        found = self._db.execute(f"SELECT {columns} FROM {table} ORDER BY 1")  # noqa: S608 -- ours
        found.row_factory = sqlite3.Row
        return [dict(row) for row in found]


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")
