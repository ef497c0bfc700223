"""A pipeline on a real database, fed with messages by hand."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Self

import msgspec

from geofence.shapes import definition_of, shape_of
from ingest.decode import Decoder
from ingest.fences import Fences
from ingest.fleet import Fleet
from ingest.mqtt import Message
from ingest.outcome import Committed
from ingest.pipeline import CHECKPOINT_EVERY, Pipeline
from ingest.policy import policy
from ingest.repair import repair_device
from tracking.fences import FenceDraft, FenceOptions
from tracking.fold import Rules
from tracking.settings import load_settings
from tracking.store.connection import Connection, connect
from tracking.store.fence_edits import delete_fences, save_fences
from tracking.store.registry import tenant_ids
from tracking.store.repairs import waiting_repairs
from tracking.times import iso

START_US = 1_700_000_000_000_000
NOW_US = START_US + 30 * 86_400_000_000


def moment(t_s: float) -> str:
    """The moment `t_s` seconds after the tests' start, as JSON writes it."""
    return iso(START_US + round(t_s * 1e6))


def pos(device: str, t_s: float, lon: float, lat: float, **members: Any) -> Message:  # noqa: ANN401 -- JSON
    """A native position message, `t_s` seconds after the tests' start."""
    body = {"t": moment(t_s), "lon": lon, "lat": lat, **members}
    return message(f"wm/default/{device}/pos", json.dumps(body).encode())


def message(topic: str, payload: bytes, received_us: int = NOW_US) -> Message:
    """Any message."""
    return Message(topic.encode(), payload, 1, received_us)


def draft(
    id_: str,
    shape: dict[str, Any],
    *,
    from_us: int | None = START_US,
    **options: Any,  # noqa: ANN401 -- FenceOptions
) -> FenceDraft:
    """A fence that holds from the tests' start on, unless said otherwise; `shape` is its JSON."""
    ground, _ = shape_of(shape)
    return FenceDraft(
        id=id_,
        name=id_,
        shape=ground,
        document=msgspec.json.encode(definition_of(ground)),
        options=FenceOptions(**options),
        effective_from_us=from_us,
    )


class Rig:
    """One worker's pipeline without MQTT. An async context manager."""

    def __init__(self, database_url: str, **settings: Any) -> None:  # noqa: ANN401 -- Settings
        self._database_url = database_url
        self._settings = load_settings(**settings)
        self.pipeline = self.fresh_pipeline()
        self.conn: Connection

    def fresh_pipeline(self) -> Pipeline:
        """A pipeline that remembers nothing, as after a restart."""
        self.fences = Fences()
        return Pipeline(
            Decoder(formats=self._settings.formats),
            Fleet(register=self._settings.unknown_devices == "register"),
            policy(self._settings),
            self.fences,
        )

    async def __aenter__(self) -> Self:
        self.conn = await connect(self._database_url, name="rig")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.conn.close()

    async def feed(self, *batches: Sequence[Message]) -> list[Committed]:
        """Store batches one after the other."""
        return [await self.pipeline.process(self.conn, batch) for batch in batches]

    async def repair(self, checkpoint_every: int = CHECKPOINT_EVERY) -> int:
        """Run every waiting repair; return how many events were written."""
        written = 0
        while waiting := await waiting_repairs(self.conn, 1_000):
            for device_id in waiting:
                events = await repair_device(
                    self.conn, device_id, Rules(), checkpoint_every, self.fences
                )
                written += len(events)
        return written

    async def save(self, *drafts: FenceDraft) -> None:
        """Save fences and switch to them, as a worker does."""
        tenant = await tenant_ids(self.conn)
        await save_fences(self.conn, tenant["default"], drafts, author="test")
        await self.fences.refresh(self.conn)

    async def delete(self, *ids: str) -> None:
        """Delete fences and hear of it."""
        tenant = await tenant_ids(self.conn)
        await delete_fences(self.conn, tenant["default"], ids)
        await self.fences.refresh(self.conn)

    async def rows(self, query: str, parameters: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """What the database answers."""
        cursor = await self.conn.execute(query, tuple(parameters))
        return await cursor.fetchall()

    async def truth(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that must not depend on order, batching or repetition."""
        return {
            "positions": await self.rows(
                "SELECT d.name, p.fix_time, p.seq, p.lon, p.lat, p.quality, p.attrs "
                "FROM position p JOIN device d ON d.id = p.device_id ORDER BY 1, 2, 3"
            ),
            "events": await self.rows(
                "SELECT id, type, subject, time, confirmed_at, confirmed_seq, data FROM event "
                "WHERE status = 'active' ORDER BY id"
            ),
            "states": await self.rows(
                "SELECT d.name, s.fix_time, s.seq, s.lon, s.lat, s.motion, s.odometer_m, "
                "s.missing_seq, s.attrs, s.stored FROM device_state s "
                "JOIN device d ON d.id = s.device_id ORDER BY 1"
            ),
            "flaws": await self.rows(
                "SELECT device, reason, n FROM ledger_reason WHERE n > 0 ORDER BY 1, 2"
            ),
        }
