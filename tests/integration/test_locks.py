"""The second lock: whatever forgets its tenant sees nothing, on each flavour of storage."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.integration.api_site import Rows, ThreadedSite
from tests.integration.world import Land
from tests.services import Postgres
from tracking.access import Principal
from tracking.store.acting import NOBODY, SYSTEM, Mandate, acting
from tracking.store.connection import Connection
from tracking.store.devices import get_device
from tracking.store.migrate import migrate
from tracking.store.pool import ReadPool

# Tables without rows of a tenant, which the api has no grant for.
_NO_TENANTS = {"schema_migration", "ingest_worker"}
# Tables no principal changes: the devices, the workers, what is derived, and the log itself. Of a
# tenant only its counters change.
_NOT_EDITED = {
    "alert_cursor",
    "audit_log",
    "backfill_part",  # its bytes; that it was brought in, its backfill tells
    "checkpoint",
    "dead_letter",
    "device_state",
    "eta_forecast",
    "eta_model",
    "event",
    "idempotency_key",
    "ledger_reason",
    "measurement",
    "position",
    "refresh_token",
    "repair",
    "road_path",
    "shipment_cursor",
    "shipment_eta",
    "shipment_fence",
    "shipment_route",
    "shipment_route_part",
    "sign_in_guess",
    "signing_key",
    "tag_read",
    "tenant",
    # What is asked of a webhook is written to the log as a word of its own.
    "webhook_delivery",
    "webhook_head",
    "webhook_progress",
}
SECRET_KEY = "a secret key of the tests, of thirty-two bytes and more"  # noqa: S105 -- as it says

_TABLES = """
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity
    OR to_regclass(format('waymark_api.%I', c.relname)) IS NOT NULL,
    EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'audit')
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
"""


@asynccontextmanager
async def pool_of(database_url: str) -> AsyncIterator[ReadPool]:
    pool = ReadPool(database_url)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def _one(conn: Connection, query: str) -> object:
    found = await conn.execute(query.encode())
    row = await found.fetchone()
    assert row is not None
    return row[0]


async def _names(conn: Connection, query: str) -> set[str]:
    return {row[0] async for row in await conn.execute(query.encode())}


def test_every_table_is_guarded_and_audited_or_listed_as_not(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        tables = {name: flags for name, *flags in conn.execute(_TABLES.encode())}
    unguarded = {name for name, (guarded, _) in tables.items() if not guarded}
    assert unguarded == _NO_TENANTS, "call guard_table for them in their migration"
    unaudited = {name for name, (_, audited) in tables.items() if not audited}
    assert unaudited == _NO_TENANTS | _NOT_EDITED, "call audit_table for them in their migration"


@pytest.fixture
def red(database_url: str) -> Iterator[Rows]:
    with Rows(database_url, "red") as rows:
        yield rows


async def test_a_query_that_forgets_its_tenant_sees_only_what_its_principal_may(
    database_url: str, red: Rows
) -> None:
    with Rows(database_url, "blue") as blue:
        for rows in (red, blue):
            rows.fixes(rows.device("van"), 3)
            rows.event("van")
            rows.fence("depot")
    async with pool_of(database_url) as pool:
        for table, n in {"device": 1, "position": 3, "event": 1, "fence": 1, "tenant": 1}.items():
            count = f"SELECT count(*) FROM {table}"  # noqa: S608 -- of the names above
            assert await pool.run(_one, count) == 0, table
            with acting(Mandate.reader(red.tenant_id)):
                assert await pool.run(_one, count) == n, table
            with acting(SYSTEM):
                assert await pool.run(_one, count) == 2 * n + (table == "tenant"), table
            with acting(NOBODY):
                assert await pool.run(_one, count) == 0, table


async def test_every_table_shows_nobody_nothing_and_a_tenant_its_own(
    database_url: str, valkey_url: str
) -> None:
    with ThreadedSite(database_url, valkey_url, secret_key=SECRET_KEY) as (address, _):
        lands = [Land(database_url, address, mark) for mark in ("redmark", "bluemark")]
        for land in lands:
            land.close()
    red = lands[0].rows.tenant_id
    with psycopg.connect(database_url) as conn:
        guarded = [name for name, is_guarded, _ in conn.execute(_TABLES.encode()) if is_guarded]
        owned = {
            table: _owned(conn, table, red)
            for table in guarded
            # Of a tenant by another column, or of none.
            if table not in {"tenant", "checkpoint", "signing_key"}
        }
    assert len([table for table, n in owned.items() if n]) > 20, "the world has less than it had"
    async with pool_of(database_url) as pool:

        async def seen(table: str, mandate: Mandate) -> object:
            try:
                with acting(mandate):
                    return await pool.run(_one, f"SELECT count(*) FROM {table}")  # noqa: S608
            except psycopg.errors.InsufficientPrivilege:
                return "refused"

        for table, n in owned.items():
            assert await seen(table, NOBODY) in {0, "refused"}, table
            assert await seen(table, Mandate.reader(red)) in {n, "refused"}, table


def _owned(conn: psycopg.Connection[tuple[object, ...]], table: str, tenant_id: int) -> object:
    row = conn.execute(
        f"SELECT count(*) FROM {table} WHERE tenant_id = %s",  # noqa: S608 -- of the catalogue
        (tenant_id,),
    ).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("index", "query"),
    [
        pytest.param(
            ["device_tenant_id_name_key", "device_state_pkey"],
            "SELECT * FROM device d JOIN device_state s ON s.device_id = d.id "
            "WHERE d.tenant_id = 2 AND d.name = 'van'",
            id="the latest position by name",
        ),
        pytest.param(
            ["device_id_fix_time_seq_key"],
            "SELECT * FROM position WHERE device_id = 1 AND fix_time > '2026-03-08' "
            "AND (fix_time, seq) > ('2026-03-08', 0) ORDER BY fix_time, seq LIMIT 10",
            id="the history of a device",
        ),
        pytest.param(
            ["device_tenant_id_name_key", "device_id_fix_time_seq_key"],
            "SELECT p.* FROM device d JOIN position p ON p.device_id = d.id "
            "WHERE d.tenant_id = 2 AND d.name = 'van' AND p.fix_time > '2026-03-08'",
            id="the history by name",
        ),
        pytest.param(
            ["event_tenant_id_cursor_key"],
            "SELECT * FROM event WHERE tenant_id = 2 AND cursor > 5 ORDER BY cursor LIMIT 10",
            id="events by cursor",
        ),
    ],
)
async def test_the_lock_keeps_no_hot_read_from_its_index(
    database_url: str, red: Rows, index: list[str], query: str
) -> None:
    red.fixes(red.device("van"), 10)

    async def plan(conn: Connection) -> str:
        # So few rows are read faster without; what matters is that the index can be used.
        async with conn.transaction():
            await conn.execute("SET LOCAL enable_seqscan = off")
            await conn.execute("SET LOCAL enable_bitmapscan = off")
            found = await conn.execute(b"EXPLAIN " + query.encode())
            return "\n".join([row[0] async for row in found])

    async with pool_of(database_url) as pool:
        with acting(Mandate.reader(red.tenant_id)):
            told = await pool.run(plan)
    for name in index:
        assert name in told
    assert told.count("Index Cond") >= len(index)


async def test_a_write_for_another_tenant_is_refused(database_url: str, red: Rows) -> None:
    async with pool_of(database_url) as pool:
        with acting(Mandate.reader(red.tenant_id)):
            statement = (
                "INSERT INTO fence (tenant_id, id, version, since) VALUES "
                "({}, 'x', 1, now()) RETURNING tenant_id"
            )
            assert await pool.run(_one, statement.format(red.tenant_id)) == red.tenant_id
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await pool.run(_one, statement.format(1))


async def test_tasks_share_connections_and_never_their_tenants(
    database_url: str, red: Rows
) -> None:
    """Many tasks of two tenants over few connections: each sees its own, whoever was before."""
    red.device("red-van")
    with Rows(database_url, "blue") as blue:
        blue.device("blue-van")
    async with pool_of(database_url) as pool:

        async def seen_by(rows: Rows) -> set[str]:
            with acting(Mandate.reader(rows.tenant_id)):
                return await pool.run(_names, "SELECT name FROM device")

        seen = await asyncio.gather(*(seen_by((red, blue)[i % 2]) for i in range(100)))
    assert [names == {"red-van"} for names in seen] == [i % 2 == 0 for i in range(100)]


async def test_a_request_given_up_half_way_does_not_leave_its_tenant_behind(
    database_url: str, red: Rows
) -> None:
    red.device("red-van")
    async with pool_of(database_url) as pool:
        for _ in range(20):
            with acting(Mandate.reader(red.tenant_id)):
                task = asyncio.create_task(pool.run(_names, "SELECT name FROM device"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await pool.run(_names, "SELECT name FROM device") == set()


async def test_the_api_may_neither_change_nor_remove_a_line_of_the_audit_log(
    database_url: str,
) -> None:
    async with pool_of(database_url) as pool:
        with acting(SYSTEM):
            for statement in ("DELETE FROM audit_log", "UPDATE audit_log SET noun = ''"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await pool.run(_one, statement)


def test_databases_of_one_cluster_may_be_migrated_at_once() -> None:
    """The role is the cluster's: one migration makes it, the others find it."""
    with Postgres() as server:
        with psycopg.connect(server.url(), autocommit=True) as conn:
            for i in range(3):
                conn.execute(f"CREATE DATABASE d{i}".encode())
        applied: list[list[str]] = []
        threads = [
            threading.Thread(target=lambda url: applied.append(migrate(url)), args=[url])
            for url in map(server.url, ("d0", "d1", "d2"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(applied) == 3
        assert len(applied[0]) == len(applied[1]) == len(applied[2]) > 0


async def test_a_superuser_whom_no_role_binds_is_told_of(
    empty_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool_of(empty_database_url) as pool:
        assert await pool.run(_one, "SELECT 1") == 1
    assert "the second lock is open" in caplog.text


async def test_a_pool_that_is_bound_says_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool_of(database_url) as pool:
        assert await pool.run(_one, "SELECT current_user = 'waymark_api'") is True
    assert "second lock" not in caplog.text


async def test_an_owner_without_rights_to_make_a_role_is_locked_out_all_the_same() -> None:
    with Postgres() as server:
        with psycopg.connect(server.url(), autocommit=True) as conn:
            conn.execute("CREATE ROLE plain LOGIN")
            conn.execute("CREATE DATABASE theirs OWNER plain")
        url = make_conninfo(server.url("theirs"), user="plain")
        migrate(url)
        with Rows(url, "red") as red:
            red.fixes(red.device("van"), 3)
            red.event("van")
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT to_regrole('waymark_api')").fetchone() == (None,)
            # The processes that serve every tenant are not in the way of their own lock.
            assert conn.execute("SELECT count(*) FROM device").fetchone() == (1,)
        async with pool_of(url) as pool:
            for table in ("device", "event", "position", "tenant"):
                assert await pool.run(_one, f"SELECT count(*) FROM {table}") == 0  # noqa: S608
            with acting(Mandate.reader(red.tenant_id)):
                assert await pool.run(get_device, red.tenant_id, "van") is not None


def test_a_principal_is_told_by_kind_id_and_name() -> None:
    key = Principal(1, "default", "viewer", 7, name="map: hall 2")
    assert key.actor == "key:7:map: hall 2"
    assert key._replace(user_id=3).actor == "user:3:map: hall 2"
