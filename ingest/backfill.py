"""Works in histories that were brought in, part by part: a task of the monitor.

A part goes the way of a batch of messages: the same decoding, reject reasons and dead letters, the
same keys, the same fold, the same repairs. What differs is said by the pipeline's policy: nobody
was heard, nothing is too old, and its events are marked. A part, what became of it and that it is
done are one transaction, so each reading is counted once, whoever is killed.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from ingest.announce import announcements
from ingest.decode import Decoder
from ingest.decoders.faults import PayloadError
from ingest.fences import Fences
from ingest.fleet import Fleet
from ingest.mqtt import Message
from ingest.outcome import Committed
from ingest.pipeline import Pipeline
from ingest.policy import Backfilling, backfill_policy
from ingest.topics import device_name
from tracking.broker_access import NATIVE_PREFIX
from tracking.errors import StoreUnavailable
from tracking.feed import Publisher
from tracking.quality import Reject
from tracking.settings import Settings
from tracking.store.backfills import (
    Outcome,
    Part,
    RefusedReading,
    forget_abandoned,
    next_part,
    note_part,
)
from tracking.store.connection import Connection
from tracking.store.persistence import Store
from tracking.store.rejects import DeadLetter, bury

_LOOK_EVERY_S = 1.0
_FORGET_EVERY_S = 600.0
# Histories leave room for what happens now: so much of the time is left to others.
_PAUSE = 0.5
_MISSING = msgspec.Raw()


class _Line(msgspec.Struct, gc=False):
    """A device, and payloads of its channels; or one element of a channel, told by its members."""

    device: str
    pos: msgspec.Raw = _MISSING
    sensor: msgspec.Raw = _MISSING
    tag: msgspec.Raw = _MISSING
    values: msgspec.Raw = _MISSING
    epc: msgspec.Raw = _MISSING

    def payloads(self, line: bytes) -> Iterator[tuple[str, bytes]]:
        """(channel, payload) of each."""
        told = {"pos": self.pos, "sensor": self.sensor, "tag": self.tag}
        given = [(channel, bytes(raw)) for channel, raw in told.items() if bytes(raw)]
        if given:
            yield from given
        else:
            yield "sensor" if bytes(self.values) else "tag" if bytes(self.epc) else "pos", line


_read_line = msgspec.json.Decoder(_Line).decode


@dataclass(slots=True)
class Lines:
    """A part as the messages its devices would have sent; `lines` has the line of each."""

    messages: list[Message] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    refused: list[RefusedReading] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)

    @classmethod
    def of(cls, part: Part, received_us: int) -> "Lines":
        """Read a part."""
        result = cls()
        for at, line in enumerate(part.payload.split(b"\n"), start=part.first_line):
            if not line.strip():
                continue
            try:
                read = _read_line(line)
                device = device_name(read.device)
            except PayloadError as fault:
                result.refuse(part, at, line, received_us, fault.reason, fault.detail)
            except msgspec.ValidationError as exc:
                result.refuse(part, at, line, received_us, Reject.MISSING_FIELD, str(exc))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
                result.refuse(part, at, line, received_us, Reject.NOT_JSON, str(exc))
            else:
                for channel, payload in read.payloads(line):
                    topic = f"{NATIVE_PREFIX}/{part.tenant}/{device}/{channel}".encode()
                    result.messages.append(Message(topic, payload, -1, received_us))
                    result.lines.append(at)
        return result

    def refuse(  # noqa: PLR0917 -- a line and why
        self, part: Part, at: int, line: bytes, received_us: int, reason: Reject, detail: str
    ) -> None:
        """Take no reading from a line."""
        self.refused.append(RefusedReading(at, None, reason.value, detail[:1_000]))
        self.letters.append(
            DeadLetter(
                f"backfill/{part.backfill_id}", line, reason, f"line {at}: {detail}"[:1_000],
                received_us, part.tenant_id,
            )
        )  # fmt: skip


class Backfills:
    """The follower as a task of the monitor, ended by cancelling it."""

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._settings = settings
        self._publisher = publisher
        self._fences = Fences()
        self._pipelines: dict[bool, Pipeline] = {}

    async def follow(self) -> None:
        """Work in what waits, for ever."""
        forget_at_s = 0.0
        async with Store(
            self._settings.database_url.get_secret_value(), "waymark-backfill"
        ) as store:
            while True:
                began_s = time.monotonic()
                if began_s >= forget_at_s:
                    await store.insist(forget_abandoned)
                    forget_at_s = began_s + _FORGET_EVERY_S
                done = await store.insist(self.step)
                if done is None:
                    await asyncio.sleep(_LOOK_EVERY_S)
                    continue
                for committed in done:
                    await self._publisher.publish(announcements(committed))
                await asyncio.sleep((time.monotonic() - began_s) * _PAUSE / (1 - _PAUSE))

    async def step(self, conn: Connection) -> list[Committed] | None:
        """Work in the next part; None when nothing waits.

        Raises:
            StoreUnavailable: try again; nothing was done.
        """
        await self._fences.refresh(conn)
        try:
            async with conn.transaction():
                part = await next_part(conn)
                if part is None:
                    return None
                lines = Lines.of(part, time.time_ns() // 1_000)
                done = await self._settle(conn, part, lines, range(len(lines.messages)))
                await bury(conn, lines.letters)
                await note_part(conn, part, _outcome(part, lines, done))
        except BaseException:
            # What they remember may not have been committed.
            self._pipelines.clear()
            raise
        return done

    async def _settle(
        self, conn: Connection, part: Part, lines: Lines, which: Sequence[int]
    ) -> list[Committed]:
        """Store messages; one that cannot be stored is found by halving, and refused."""
        if not which:
            return []
        messages = [lines.messages[i] for i in which]
        try:
            async with conn.transaction():
                committed = await self._pipeline(quiet=not part.alerts).process(conn, messages)
        except StoreUnavailable:
            raise
        except Exception as exc:  # noqa: BLE001 -- whatever it is, it is kept and told
            if len(which) > 1:
                middle = len(which) // 2
                first = await self._settle(conn, part, lines, which[:middle])
                return first + await self._settle(conn, part, lines, which[middle:])
            (only,) = which
            detail = f"{type(exc).__name__}: {exc}"
            message = messages[0]
            lines.refuse(
                part, lines.lines[only], message.payload, message.received_us,
                Reject.STORE_REFUSED, detail,
            )  # fmt: skip
            return []
        for refusal in committed.refusals:
            at = lines.lines[which[refusal.message]]
            lines.refused.append(
                RefusedReading(at, refusal.device, refusal.reason.value, refusal.detail[:1_000])
            )
        return [committed]

    def _pipeline(self, *, quiet: bool) -> Pipeline:
        pipeline = self._pipelines.get(quiet)
        if pipeline is None:
            settings = self._settings
            pipeline = self._pipelines[quiet] = Pipeline(
                Decoder(max_payload_bytes=settings.max_payload_bytes),
                Fleet(register=settings.unknown_devices == "register"),
                backfill_policy(settings, Backfilling(quiet)),
                self._fences,
            )
        return pipeline


def _outcome(part: Part, lines: Lines, done: Sequence[Committed]) -> Outcome:
    received = sum(committed.received for committed in done)
    stored = sum(committed.stored for committed in done)
    return Outcome(
        lines=part.payload.count(b"\n"),
        readings=received + len(lines.refused),
        stored=stored,
        duplicate=received - stored,
        events=sum(len(committed.events) for committed in done),
        refused=sorted(lines.refused, key=lambda one: one.line),
    )
