"""The dispatch desk's own state: a copy of what the api tells of each shipment.

The desk wants what a shipment is, not how it came to be so. So it makes nothing of events but a
hint: whatever happened, late, corrected or taken back, the shipment is read again and replaced as
a whole. A hint may come twice or be one of many; the copy is the same.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from examples.program import opened
from waymark.client import Shipment

_SCHEMA = """
CREATE TABLE IF NOT EXISTS shipment (
    id         TEXT PRIMARY KEY,
    version    INTEGER NOT NULL,    -- of its plan
    order_ref  TEXT,
    status     TEXT NOT NULL,
    since      TEXT NOT NULL,
    next_stop  INTEGER,
    trouble    TEXT NOT NULL        -- delayed, ..., by commas; empty: none
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stop (
    shipment   TEXT NOT NULL REFERENCES shipment,
    stop       INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    planned    TEXT,
    until      TEXT,
    arrived    TEXT,
    departed   TEXT,
    done       INTEGER NOT NULL,
    PRIMARY KEY (shipment, stop)
) WITHOUT ROWID;
-- Up to where the feed was worked in; no row: it never was.
CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), cursor INTEGER NOT NULL);
"""


class Desk:
    """The dispatch desk's database."""

    def __init__(self, path: str) -> None:
        self._db = opened(path, _SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @property
    def cursor(self) -> int | None:
        """Where to go on in the feed; None: begin with everything there is."""
        row = self._db.execute("SELECT cursor FROM place").fetchone()
        return None if row is None else int(row[0])

    def replace(self, read: Iterable[Shipment], cursor: int) -> None:
        """Put shipments as they were read in place of what was known of them.

        With the cursor up to which they were asked for in one transaction: were it saved before
        them, a crash in between would leave them as they were for ever.
        """
        with self._db:
            for shipment in read:
                self._put(shipment)
            self._db.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (cursor,))

    def _put(self, shipment: Shipment) -> None:
        # A risk is a forecast, and ages; the desk keeps what is so.
        trouble = [one for one in shipment.exceptions if one != "at_risk"]
        self._db.execute("DELETE FROM stop WHERE shipment = ?", (shipment.id,))
        self._db.execute(
            "INSERT OR REPLACE INTO shipment VALUES (?, ?, ?, ?, ?, ?, ?)",
            (shipment.id, shipment.version, shipment.order_ref, shipment.status,
             _text(shipment.since), shipment.next_stop, ",".join(sorted(trouble))),
        )  # fmt: skip
        self._db.executemany(
            "INSERT INTO stop VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (shipment.id, n, stop.kind, stop.name, _text(stop.arrive.planned),
                 _text(stop.planned_until), _text(stop.arrive.actual), _text(stop.depart.actual),
                 stop.done)
                for n, stop in enumerate(shipment.stops)
            ],
        )  # fmt: skip

    def truth(self) -> dict[str, Any]:
        """All shipments, those in trouble, and all stops, as of one cursor."""
        with self._db:
            self._db.execute("BEGIN")
            shipments = self._db.execute("SELECT * FROM shipment").fetchall()
            stops = self._db.execute("SELECT * FROM stop ORDER BY shipment, stop").fetchall()
            return {
                "cursor": self.cursor,
                "shipments": {row[0]: row[1:] for row in shipments},
                "trouble": {row[0]: row[-1].split(",") for row in shipments if row[-1]},
                "stops": {f"{row[0]}/{row[1]}": row[2:] for row in stops},
            }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")
