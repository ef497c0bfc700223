"""Charts of a device, value by value and by bucket, on each flavour of storage."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.api_site import Rows, Site

START = datetime(2026, 3, 27, tzinfo=UTC)


@pytest.fixture
def device_id(rows: Rows, database_url: str) -> int:
    """Four days of a value a minute, the second of them silent; and a drive."""
    id_ = rows.device("d")
    with psycopg.connect(database_url, autocommit=True) as conn:
        measure(conn, rows, id_, 0, 1_440)
        measure(conn, rows, id_, 2_880, 5_760)
        # A degree of latitude is 111 km: 22 m each step, so that every other one counts.
        conn.execute(
            "INSERT INTO position (device_id, fix_time, seq, tenant_id, received_at, lon, lat, "
            "speed_mps, battery, quality, h3, content) SELECT %s, %s::timestamptz + i * "
            "interval '1 minute', i, %s, now(), 5, 52 + i * 0.0002, i %% 60, "
            "CASE WHEN i %% 2 = 0 THEN 0.5 END, 0, 0, i FROM generate_series(0, 179) i",
            (id_, START, rows.tenant_id),
        )
    return id_


def measure(
    conn: psycopg.Connection[Any], rows: Rows, device_id: int, first: int, end: int
) -> None:
    """Values of the minutes from `first` on: their number, modulo sixty."""
    conn.execute(
        "INSERT INTO measurement (device_id, fix_time, metric, tenant_id, received_at, value) "
        "SELECT %s, %s::timestamptz + i * interval '1 minute', 'temperature_c', %s, now(), i %% 60 "
        "FROM generate_series(%s::int, %s::int - 1) i",
        (device_id, START, rows.tenant_id, first, end),
    )


def refresh(conn: psycopg.Connection[Any]) -> None:
    """Do what TimescaleDB's own jobs do every quarter of an hour, where it is there."""
    row = conn.execute("SELECT to_regclass('timescaledb_information.jobs')").fetchone()
    if row != (None,):
        jobs = conn.execute(
            "SELECT job_id FROM timescaledb_information.jobs "
            "WHERE proc_name = 'policy_refresh_continuous_aggregate'"
        ).fetchall()
        assert len(jobs) == 2
        for (job_id,) in jobs:
            conn.execute("CALL run_job(%s)", (job_id,))


async def chart(site: Site, hours: float, **params: str | list[str]) -> dict[str, Any]:
    window = {"from": START.isoformat(), "to": (START + timedelta(hours=hours)).isoformat()}
    response = await site.client.get("/v1/devices/d/charts", params={**window, **params})
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


@pytest.mark.usefixtures("device_id")
async def test_hours_have_what_was_measured_and_gaps_are_gaps(site: Site) -> None:
    told = await chart(site, 96, bucket="1h")
    curve = told["measurements"]["temperature_c"]
    assert len(told["starts"]) == 96
    assert told["starts"][1] == "2026-03-27T01:00:00Z"
    assert curve["n"] == [60] * 24 + [0] * 24 + [60] * 48
    assert curve["mean"] == [29.5] * 24 + [None] * 24 + [29.5] * 48
    assert (curve["min"][0], curve["max"][0], curve["min"][30]) == (0, 59, None)


@pytest.mark.usefixtures("device_id")
@pytest.mark.parametrize(
    ("hours", "bucket", "n"), [(1, "1m", 60), (20, "5m", 240), (60, "15m", 240), (200, "1h", 200)]
)
async def test_the_bucket_fits_the_time(site: Site, hours: float, bucket: str, n: int) -> None:
    told = await chart(site, hours)
    assert (told["bucket"], len(told["starts"])) == (bucket, n)
    curve = told["measurements"]["temperature_c"]
    assert sum(curve["n"]) == min(hours * 60, 1_440) + max(0, min(hours, 96) - 48) * 60


@pytest.mark.usefixtures("device_id")
async def test_days_are_those_of_the_time_zone_also_when_the_clocks_change(site: Site) -> None:
    told = await chart(site, 96, bucket="1d", time_zone="Europe/Berlin")
    # Their 29th of March has 23 hours.
    assert told["starts"] == [
        "2026-03-26T23:00:00Z", "2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z",
    ]  # fmt: skip
    assert told["measurements"]["temperature_c"]["n"] == [1_380, 60, 1_320, 1_440, 120]
    india = await chart(site, 24, bucket="1d", time_zone="Asia/Kolkata")
    assert india["measurements"]["temperature_c"]["n"] == [1_110, 330]


@pytest.mark.usefixtures("device_id")
async def test_positions_tell_speed_battery_and_distance(site: Site) -> None:
    told = await chart(
        site, 4, bucket="1h", metric="none", position=["speed_mps", "battery", "distance_m"]
    )
    assert told["measurements"] == {
        "none": {"n": [0] * 4, "mean": [None] * 4, "min": [None] * 4, "max": [None] * 4}
    }
    speed, battery = told["positions"]["speed_mps"], told["positions"]["battery"]
    assert (speed["n"], speed["mean"], speed["max"]) == (
        [60, 60, 60, 0], [29.5, 29.5, 29.5, None], [59, 59, 59, None],
    )  # fmt: skip
    assert (battery["n"][0], battery["mean"][0]) == (30, 0.5)
    assert told["distance_m"][3] is None
    assert sum(told["distance_m"][:3]) == pytest.approx(178 * 22.25, rel=0.01)


async def test_what_comes_late_is_drawn(
    site: Site, rows: Rows, device_id: int, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        refresh(conn)
        before = await chart(site, 96, bucket="1d")
        assert before["measurements"]["temperature_c"]["n"] == [1_440, 0, 1_440, 1_440]
        measure(conn, rows, device_id, 1_440, 2_880)
        refresh(conn)
    after = await chart(site, 96, bucket="1d")
    assert after["measurements"]["temperature_c"]["n"] == [1_440] * 4


async def test_values_come_in_pages(site: Site, rows: Rows, device_id: int) -> None:
    items: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        more = {"cursor": cursor} if cursor else {}
        page = (await site.get("/v1/devices/d/measurements", limit=2_000, **more)).json()
        items += page["items"]
        cursor = page["next"]
    assert len(items) == 4_320
    assert [item["fix_time"] for item in items] == sorted({item["fix_time"] for item in items})
    nothing = await site.get("/v1/devices/d/measurements", metric="none")
    assert nothing.json() == {"items": [], "next": None}
    assert rows.tenant_id + device_id > 0


@pytest.mark.usefixtures("device_id")
@pytest.mark.parametrize(
    ("params", "field"),
    [
        pytest.param({"bucket": "1m", "to": "2026-04-27T00:00:00Z"}, "bucket", id="too many"),
        pytest.param({"to": "2026-03-01T00:00:00Z"}, "from", id="reversed"),
        pytest.param({"to": "2026-06-01T00:00:00Z", "position": "distance_m"}, "from", id="long"),
        pytest.param({"time_zone": "Berlin"}, "time_zone", id="zone"),
        pytest.param({"position": "lon"}, "position", id="position"),
        pytest.param({"bucket": "2h"}, "bucket", id="bucket"),
    ],
)
async def test_what_cannot_be_drawn_is_refused_by_name(
    site: Site, params: dict[str, str], field: str
) -> None:
    window = {"from": START.isoformat(), "to": (START + timedelta(days=1)).isoformat()}
    response = await site.client.get("/v1/devices/d/charts", params={**window, **params})
    assert (response.status_code, response.json()["field"]) == (422, field)


async def test_only_ones_own_devices_are_drawn(site: Site, database_url: str) -> None:
    with Rows(database_url, "other") as others:
        others.device("theirs")
    window = {"from": START.isoformat(), "to": (START + timedelta(days=1)).isoformat()}
    for path in ("charts", "measurements"):
        asked = window if path == "charts" else {}
        response = await site.client.get(f"/v1/devices/theirs/{path}", params=asked)
        assert response.status_code == 404
