"""A real api on a free port, and a few rows to ask it for."""

import asyncio
import queue
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

import httpx
import psycopg
from psycopg.types.json import Jsonb

from api.app import serve
from tests.services import TIMEOUT_FACTOR
from tracking.feed import EventRecord
from tracking.settings import load_settings
from tracking.store.keys import create_key
from tracking.times import to_us

NOON = datetime(2026, 3, 8, 12, tzinfo=UTC)
# A cell near Utrecht; the tests look at its spelling only.
CELL = 0x8A1969C9949FFFF


class Site:
    """An api that runs: its address, a key of tenant `default`, and a client with that key."""

    def __init__(
        self,
        url: str,
        key: str,
        client: httpx.AsyncClient,
        stop: Callable[[], object] = lambda: None,
    ) -> None:
        self.stop = stop
        self.url = url
        self.key = key
        self.client = client

    @property
    def feed_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/feed"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def get(self, path: str, **params: str | int) -> httpx.Response:
        return await self.client.get(path, params=params)


@asynccontextmanager
async def api_site(
    database_url: str, redis_url: str, *, key: str | None = None, **overrides: object
) -> AsyncIterator[Site]:
    """Serve for the time of the context; without `key` one of tenant `default` is made."""
    if key is None:
        key = create_key(database_url, "default", "test", "viewer")
    settings = load_settings(
        **{"database_url": database_url, "redis_url": redis_url, "http_port": 0, **overrides}
    )
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, ready=address.set_result), name="test.api")
    try:
        # If it ends instead of getting ready, its error is the test's.
        serving.add_done_callback(partial(_fail, address))
        url = await address
        async with client_of(url, key) as client:
            yield Site(url, key, client, serving.cancel)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def client_of(url: str, key: str) -> httpx.AsyncClient:
    """A client that shows a key."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {key}"},
        timeout=20 * TIMEOUT_FACTOR,
        trust_env=False,
    )


class ThreadedSite:
    """An api in a thread of its own, for tests that share one; enters as its address and key."""

    def __init__(
        self, database_url: str, redis_url: str, *, key: str | None = None, **overrides: object
    ) -> None:
        self._site = partial(api_site, database_url, redis_url, key=key, **overrides)
        self._address: queue.Queue[tuple[str, str]] = queue.Queue()
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="test.api", daemon=True
        )

    async def _serve(self) -> None:
        stopped = asyncio.Event()
        self._stop = partial(asyncio.get_running_loop().call_soon_threadsafe, stopped.set)
        async with self._site() as site:
            self._address.put((site.url, site.key))
            await stopped.wait()

    def __enter__(self) -> tuple[str, str]:
        self._thread.start()
        return self._address.get(timeout=20 * TIMEOUT_FACTOR)

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join(20 * TIMEOUT_FACTOR)


def _fail(address: asyncio.Future[str], serving: asyncio.Task[None]) -> None:
    if address.done():
        return
    error = None if serving.cancelled() else serving.exception()
    address.set_exception(error or RuntimeError("the api ended before it was ready"))


class Rows:
    """Writes rows as the ingest worker would have left them, one statement per call."""

    def __init__(self, database_url: str, tenant: str = "default") -> None:
        self.tenant = tenant
        self._conn = psycopg.connect(database_url, autocommit=True)
        self._conn.execute(
            "INSERT INTO tenant (name) VALUES (%s) ON CONFLICT DO NOTHING", (tenant,)
        )
        row = self._conn.execute("SELECT id FROM tenant WHERE name = %s", (tenant,)).fetchone()
        assert row is not None
        self.tenant_id: int = row[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._conn.close()

    def device(
        self,
        name: str,
        lon: float | None = 5.1,
        lat: float = 52.1,
        *,
        fix_time: datetime = NOON,
        motion: int = 2,
        online: bool | None = True,
        speed_mps: float | None = 12.3,
    ) -> int:
        """A device with its state; no position when `lon` is None."""
        row = self._conn.execute(
            "INSERT INTO device (tenant_id, name) VALUES (%s, %s) RETURNING id",
            (self.tenant_id, name),
        ).fetchone()
        assert row is not None
        placed = lon is not None
        self._conn.execute(
            "INSERT INTO device_state (device_id, tenant_id, fix_time, seq, received_at, lon, lat, "
            "speed_mps, h3, motion, online, heard_at, odometer_m, received, stored, duplicate, "
            "late) "
            "VALUES (%s, %s, %s, -1, %s, %s, %s, %s, %s, %s, %s, now(), 1234.56, 12, 10, 2, 1)",
            (
                row[0],
                self.tenant_id,
                fix_time if placed else None,
                fix_time if placed else None,
                lon,
                lat if placed else None,
                speed_mps,
                CELL,
                motion,
                online,
            ),
        )
        return int(row[0])

    def move(self, name: str, lon: float, lat: float, fix_time: datetime) -> None:
        """A new latest fix, in the state alone."""
        self._conn.execute(
            "UPDATE device_state s SET lon = %s, lat = %s, fix_time = %s, received_at = now(), "
            "heard_at = now() FROM device d WHERE d.id = s.device_id AND d.name = %s "
            "AND d.tenant_id = %s",
            (lon, lat, fix_time, name, self.tenant_id),
        )

    def fixes(self, device_id: int, n: int, *, quality: int = 0, start: datetime = NOON) -> None:
        """`n` fixes, one a second, two of them sharing each time under different seq."""
        self._conn.execute(
            "INSERT INTO position (device_id, fix_time, seq, tenant_id, received_at, lon, lat, "
            "alt_m, quality, h3, content, attrs) SELECT %s, %s + (i / 2) * interval '1 second', i, "
            "%s, %s, 5 + i * 1e-4, 52, 3.5, %s, %s, i, '{\"i\": 1}' "
            "FROM generate_series(0, %s) i",
            (device_id, start, self.tenant_id, start, quality, CELL, n - 1),
        )

    def event(
        self,
        subject: str,
        type_: str = "trip.started",
        *,
        event_id: uuid.UUID | None = None,
        time: datetime = NOON,
        status: str = "active",
        data: Mapping[str, object] | None = None,
        rule: str | None = None,
    ) -> EventRecord:
        """An event, or the next revision of `event_id`, under the tenant's next cursor."""
        with self._conn.transaction():
            row = self._conn.execute(
                "INSERT INTO event (id, tenant_id, cursor, type, subject, device_id, time, status, "
                "data, rule) SELECT %s, %s, feed_cursor + 1, %s, %s, 1, %s, %s, %s, %s FROM tenant "
                "WHERE id = %s ON CONFLICT (id) DO UPDATE SET cursor = excluded.cursor, "
                "revision = event.revision + 1, status = excluded.status, data = excluded.data "
                "RETURNING id, cursor, revision, recorded_at",
                (
                    event_id or uuid.uuid4(),
                    self.tenant_id,
                    type_,
                    subject,
                    time,
                    status,
                    Jsonb(dict(data or {})),
                    rule,
                    self.tenant_id,
                ),
            ).fetchone()
            self._conn.execute(
                "UPDATE tenant SET feed_cursor = feed_cursor + 1 WHERE id = %s", (self.tenant_id,)
            )
        assert row is not None
        id_, cursor, revision, recorded_at = row
        return EventRecord(
            id=str(id_),
            tenant=self.tenant,
            type=type_,
            subject=subject,
            time_us=to_us(time),
            recorded_at_us=to_us(recorded_at),
            revision=revision,
            status=status,
            late=False,
            cursor=cursor,
            data=dict(data or {}),
        )

    def execute(self, statement: str) -> None:
        """Any other change."""
        self._conn.execute(statement.encode())

    def dead_letter(self, payload: bytes, *, device: str = "t1", reason: str = "not_json") -> None:
        self._conn.execute(
            "INSERT INTO dead_letter (digest, tenant_id, device, topic, payload, reason, detail, "
            "first_received_at, last_received_at) VALUES "
            "(sha256(%s), %s, %s, 'wm/default/t1/pos', %s, %s, 'why', now(), now())",
            (payload + self.tenant.encode(), self.tenant_id, device, payload, reason),
        )

    def fence(self, id_: str) -> None:
        """A circle of 100 m, since noon."""
        self._conn.execute(
            "WITH made AS (INSERT INTO fence (tenant_id, id, version, since) "
            "VALUES (%(tenant)s, %(id)s, 1, %(noon)s) RETURNING number) "
            "INSERT INTO fence_version (fence_number, version, tenant_id, revision, valid_from, "
            "digest, name, shape, options, kind, geometry, radius_m, min_lon, min_lat, max_lon, "
            "max_lat) SELECT number, 1, %(tenant)s, 1, %(noon)s, '', %(id)s, '{}', '{}', "
            "'circle', %(wkb)s, 100, 5, 52, 5.1, 52.1 FROM made",
            {
                "tenant": self.tenant_id,
                "id": id_,
                "noon": NOON,
                "wkb": bytes.fromhex("010100000066666666666614400000000000004a40"),
            },
        )
        self._conn.execute("UPDATE tenant SET fence_revision = 1 WHERE id = %s", (self.tenant_id,))

    def alert(self, event: EventRecord, rule: str) -> str:
        """A rule and an open alert it raised for an event; returns the alert's id."""
        body = {"id": rule, "name": rule, "types": [event.type]}
        row = self._conn.execute(
            "WITH made AS (INSERT INTO rule (tenant_id, id, version) VALUES (%(tenant)s, %(rule)s, "
            "1) RETURNING number), version AS (INSERT INTO rule_version (rule_number, version, "
            "tenant_id, from_cursor, body) SELECT number, 1, %(tenant)s, 0, %(body)s FROM made) "
            "INSERT INTO alert (id, tenant_id, rule_number, rule_version, event_id, event_type, "
            "event_status, late, data, device, severity, state, opened_at, recorded_at) "
            "SELECT gen_random_uuid(), %(tenant)s, number, 1, %(event)s, %(type)s, 'active', "
            "false, '{}', %(device)s, 'warning', 'open', %(noon)s, now() FROM made RETURNING id",
            {
                "tenant": self.tenant_id,
                "rule": rule,
                "body": Jsonb(body),
                "event": event.id,
                "type": event.type,
                "device": event.subject,
                "noon": NOON,
            },
        ).fetchone()
        assert row is not None
        return str(row[0])

    def one(self, statement: str, values: Sequence[object] | Mapping[str, object] = ()) -> object:
        """The only value of the only row of any statement."""
        row = self._conn.execute(statement.encode(), values).fetchone()
        assert row is not None
        return row[0]

    def reason(self, device: str, reason: str, n: int) -> None:
        self._conn.execute(
            "INSERT INTO ledger_reason VALUES (%s, %s, %s, %s)", (self.tenant_id, device, reason, n)
        )


def later(seconds: float) -> datetime:
    """That many seconds after noon."""
    return NOON + timedelta(seconds=seconds)
