"""A fleet with a long history, made by the server itself, as the pipeline would have left it."""

from dataclasses import dataclass

import psycopg

FIRST_DAY = "2026-03-01"
# What the fold keeps of a device takes 312 bytes, and a scan of all states reads them.
_DEVICES = """
WITH made AS (
    INSERT INTO device (tenant_id, name)
    SELECT 1, 'truck-' || lpad(i::text, 6, '0') FROM generate_series(1, %s) i RETURNING id
)
INSERT INTO device_state (device_id, tenant_id, fold, fix_time, seq, received_at, lon, lat, alt_m,
    speed_mps, course_deg, accuracy_m, battery, h3, motion, online, heard_at)
SELECT id, 1, decode(repeat('ab', 312), 'hex'), now(), -1, now(), 5 + (id %% 320) * 0.01,
    50 + (id / 320) * 0.01, 12.5, 13.2, 90, 5, 0.8, 623000000000000000, 2, true, now()
FROM made
"""
# A fix each ten seconds, in the order of time: those of one vehicle lie far apart.
_DAY = """
INSERT INTO position (device_id, fix_time, seq, tenant_id, received_at, lon, lat, alt_m, speed_mps,
    course_deg, accuracy_m, battery, quality, h3, content)
SELECT v, at, s, 1, at + interval '1.234567 seconds', 5 + s * 1e-4 + v * 1.1e-7,
    52 + s * 1e-5 + v * 1.23e-6, 12.5, 13.2 + s %% 7, s %% 360, 5, 0.8, 0,
    623000000000000000 + s, s
FROM generate_series(0, 8639) s, generate_series(1, %(vehicles)s) v,
    LATERAL (SELECT %(day)s::date::timestamptz + make_interval(secs => s * 10 + v %% 10) AS at) t
ORDER BY s, v
"""


@dataclass(frozen=True, slots=True)
class Archive:
    """`vehicles` of `devices` reported every ten seconds for `days` days."""

    devices: int
    vehicles: int
    days: int

    @property
    def fixes(self) -> int:
        """Rows of history."""
        return self.vehicles * self.days * 8_640

    def fill(self, database_url: str) -> None:
        """Make all of it in an empty database, whose first devices get the ids from 1 on."""
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute(_DEVICES, (self.devices,))
            for day in self.dates():
                conn.execute("SELECT series_attach_day('position', %s)", (day,))
                conn.execute(_DAY, {"vehicles": self.vehicles, "day": day})
            conn.execute("VACUUM ANALYZE")

    def dates(self) -> list[str]:
        """Its days."""
        return [f"{FIRST_DAY[:-2]}{1 + day:02d}" for day in range(self.days)]


def device_name(number: int) -> str:
    """The name of the device with this id."""
    return f"truck-{number:06d}"
