"""Migrations on real servers, on each flavour of storage."""

import threading

import psycopg
import pytest

from tracking.errors import SchemaOutdated, StoreUnavailable
from tracking.store.migrate import check, migrate


def _one(url: str, query: str) -> object:
    with psycopg.connect(url) as conn:
        row = conn.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def test_an_empty_database_gets_every_migration_once_and_in_order(empty_database_url: str) -> None:
    applied = migrate(empty_database_url)
    assert applied == sorted(applied)
    assert applied[0] == "0001_core"
    assert migrate(empty_database_url) == []


def test_a_migrated_database_passes_the_check(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        check(conn)


def test_the_check_names_the_first_missing_migration(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as conn, pytest.raises(SchemaOutdated) as caught:
        check(conn)
    assert caught.value.missing[0] == "0001_core"
    assert "waymark migrate" in str(caught.value)


def test_processes_that_migrate_at_once_do_the_work_once(empty_database_url: str) -> None:
    results: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: results.append(migrate(empty_database_url)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, results))[:3] == [0, 0, 0]
    assert len(results) == 4


def test_an_absent_server_is_one_clear_sentence() -> None:
    with pytest.raises(StoreUnavailable, match="cannot reach the database"):
        migrate("postgresql://127.0.0.1:1/waymark?connect_timeout=2")


@pytest.mark.parametrize("series", ["position", "measurement", "tag_read"])
def test_a_series_takes_rows_of_any_day_and_refuses_a_second_of_one_key(
    database_url: str, series: str
) -> None:
    """The shape both flavours share: one insert, idempotent by key, whatever the day."""
    values = {
        "position": "(device_id, fix_time, seq, tenant_id, received_at, lon, lat, quality, h3, "
        "content) VALUES (1, $1, -1, 1, now(), 1, 2, 0, 0, 0)",
        "measurement": "(device_id, fix_time, metric, tenant_id, received_at, value) "
        "VALUES (1, $1, 'temperature_c', 1, now(), 4)",
        "tag_read": "(device_id, fix_time, epc, antenna, tenant_id, received_at) "
        "VALUES (1, $1, 'urn:x', -1, 1, now())",
    }[series]
    statement = f"INSERT INTO {series} {values} ON CONFLICT DO NOTHING".encode()
    with psycopg.connect(database_url, cursor_factory=psycopg.RawCursor) as conn:
        for day in ("2015-03-08", "2016-11-24", "2016-11-24", "2031-01-01"):
            conn.execute(statement, [day])
    assert _one(database_url, f"SELECT count(*) FROM {series}") == 3  # noqa: S608 -- as above


def test_old_days_are_dropped_and_young_ones_stay(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "INSERT INTO measurement (device_id, fix_time, metric, tenant_id, received_at, value) "
            "SELECT 1, t, 'x', 1, now(), 0 FROM "
            "generate_series(timestamptz '2024-01-01', '2024-01-10', interval '1 day') t"
        )
        for day in range(1, 4):
            conn.execute("SELECT series_attach_day('measurement', %s)", (f"2024-01-{day:02}",))
    with psycopg.connect(database_url) as conn:
        conn.execute("SELECT series_drop_before('measurement', '2024-01-05')")
    oldest = _one(database_url, "SELECT min(fix_time) >= '2024-01-05' FROM measurement")
    assert oldest is True
    assert _one(database_url, "SELECT count(*) FROM measurement") == 6
