"""The ingest process: one MQTT session, one pipeline, one repairer.

Tasks, all owned by `Worker.run`: `session` (ends on stop, after its drain), `store` (takes
batches, stores, publishes, acknowledges; ends when cancelled), `repair`, `fences` (follows edits),
`commands` (sends them) and `notices` (hears of both early), which end likewise. A failure
of the database only ever delays them; any other exception ends the process, which the supervisor
restarts: nothing unacknowledged is lost by that.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress

from ingest.announce import announcements, event_announcements
from ingest.commander import Commander
from ingest.decode import Decoder
from ingest.fences import Fences
from ingest.fleet import Fleet
from ingest.inbox import Inbox
from ingest.metrics import Metrics
from ingest.mqtt import Message, Session, session_options
from ingest.pipeline import CHECKPOINT_EVERY, Pipeline
from ingest.policy import policy
from ingest.repair import FencesBehind, repair_device
from ingest.split import Split
from tracking.errors import SettingsError, StoreRefused
from tracking.feed import COMMANDS, NOTICES, Delivery, Publisher, Subscriber
from tracking.quality import Reject
from tracking.settings import Settings
from tracking.store.connection import Connection
from tracking.store.persistence import Store
from tracking.store.rejects import DeadLetter, bury
from tracking.store.repairs import waiting_repairs

logger = logging.getLogger(__name__)

# How long late fixes of a device gather before its history is folded again: one pass for a
# flushed backlog instead of one per batch.
_REPAIR_PAUSE_S = 0.25
_REPAIRS_PER_LOOK = 200
# An edit of a fence takes effect within this time, and that of compiling it.
_FENCES_EVERY_S = 1.0
# A broker with something queued and room in the window sends it well within this.
_DRAINED_S = 0.5


async def run(settings: Settings, *, index: int, ready: Callable[[], None]) -> None:
    """Be worker `index` until SIGTERM or SIGINT: then finish what was received, and return.

    `ready` is called once, when the broker first queues for this worker.
    """
    worker = Worker(settings, index=index)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    await worker.run(ready)


class Worker:
    """One ingest worker. `run` owns all its tasks; `stop` may be called once it runs."""

    def __init__(self, settings: Settings, *, index: int = 0) -> None:
        self._database_url = settings.database_url.get_secret_value()
        self.split = Split(index, 1 if settings.mqtt_group else settings.workers)
        if not (0 <= index < settings.workers) and not settings.mqtt_group:
            raise SettingsError(
                f"WAYMARK_WORKERS is {settings.workers}, so there is no worker {index}: set it to "
                "the number of workers on all of them, or set WAYMARK_MQTT_GROUP where the broker "
                "keeps shared subscriptions"
            )
        self._inbox = Inbox(batch_max=settings.batch_max, batch_age_s=settings.batch_age_ms / 1_000)
        self.session = Session(session_options(settings, index), self._inbox.put)
        self._publisher = Publisher(settings.redis_url.get_secret_value())
        self._policy = policy(settings)
        self._fences = Fences()
        self._notices = Subscriber(settings.redis_url.get_secret_value(), [NOTICES, COMMANDS])
        self._pipeline = Pipeline(
            Decoder(
                formats=settings.formats,
                foreign_tenant=settings.foreign_tenant,
                max_payload_bytes=settings.max_payload_bytes,
            ),
            Fleet(register=settings.unknown_devices == "register"),
            self._policy,
            self._fences,
        )
        self._name = f"waymark-ingest-{index}"
        self._commander = Commander(
            self._database_url, f"{self._name}-commands", self.session, self._publisher
        )
        self.metrics = Metrics(
            self.session, self._inbox, self._publisher, self._commander, settings.metrics_port
        )
        self._work_to_repair = asyncio.Event()
        self._fences_edited = asyncio.Event()

    def stop(self) -> None:
        """Receive nothing more, store and acknowledge what was received, then end `run`."""
        logger.info("stopping: %d message(s) to finish", self.session.outstanding)
        self.session.stop()

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until `stop`; `ready` is called when first subscribed."""
        async with self._publisher, self.metrics, asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(self._store_for_ever(), name="ingest.store"),
                tasks.create_task(self._repair_for_ever(), name="ingest.repair"),
                tasks.create_task(self._follow_fences(), name="ingest.fences"),
                tasks.create_task(self._hear_notices(), name="ingest.notices"),
                tasks.create_task(self._commander.run(), name="ingest.commands"),
                tasks.create_task(self._announce(ready), name="ingest.announce"),
            ]
            await tasks.create_task(self.session.run(), name="ingest.session")
            for task in others:
                task.cancel()

    async def _announce(self, ready: Callable[[], None]) -> None:
        await self.session.connected.wait()
        ready()

    async def _store_for_ever(self) -> None:
        async with Store(self._database_url, self._name) as store:
            # Nothing is folded before the fences are known.
            await store.insist(self._refresh_fences)
            while True:
                if (
                    not self.split.active
                    and not self.split.alone
                    and self.session.connected.is_set()
                ):
                    await store.insist(lambda conn: self.split.look(conn, drained=self._drained()))
                messages = await self._inbox.take(wait_s=None if self.split.alone else 1.0)
                if messages:
                    await self._settle(store, messages)

    def _drained(self) -> bool:
        """Whether the broker has nothing more for us: it had room to send and sent nothing."""
        return len(self._inbox) == 0 and self._inbox.quiet_s() > _DRAINED_S

    async def _settle(self, store: Store, messages: list[Message]) -> None:
        """Commit, then publish, then acknowledge; however long the database is away.

        A batch that cannot be stored, because the database refuses a value or because of a fault
        of ours, is halved until the message that brings it about is alone, and that one is
        buried: one message never stops the stream.
        """
        try:
            mine = self.split.mine(messages)
            committed = await store.insist(lambda conn: self._pipeline.process(conn, mine))
        except Exception as exc:  # noqa: BLE001 -- whatever it is, it is kept and logged
            if len(messages) == 1:
                await self._bury(store, messages[0], exc)
                return
            middle = len(messages) // 2
            await self._settle(store, messages[:middle])
            await self._settle(store, messages[middle:])
            return
        await self._publisher.publish(announcements(committed))
        self.session.ack([message.ticket for message in messages])
        self.metrics.count(committed, messages)
        if committed.repairs:
            self._work_to_repair.set()
        if any(event.type == "device.online" for event in committed.events):
            self._commander.wake()

    async def _bury(self, store: Store, message: Message, fault: Exception) -> None:
        expected = isinstance(fault, StoreRefused)
        logger.error(
            "a message on %r cannot be stored: %s",
            message.topic,
            fault,
            exc_info=None if expected else fault,
        )
        letter = DeadLetter(
            topic=message.topic.decode("utf-8", "backslashreplace"),
            payload=message.payload,
            reason=Reject.STORE_REFUSED,
            detail=f"{type(fault).__name__}: {fault}"[:1_000],
            received_us=message.received_us,
        )
        await store.insist(lambda conn: bury(conn, [letter]))
        self.session.ack([message.ticket])

    async def _repair_for_ever(self) -> None:
        async with Store(self._database_url, f"{self._name}-repair") as store:
            while True:
                waiting = await store.insist(lambda conn: waiting_repairs(conn, _REPAIRS_PER_LOOK))
                for device_id in waiting:
                    await self._repair(store, device_id)
                self._work_to_repair.clear()
                # Other workers' requests are looked for now and then: their owner may have died.
                try:
                    async with asyncio.timeout(_REPAIR_PAUSE_S if waiting else 1.0):
                        await self._work_to_repair.wait()
                    await asyncio.sleep(_REPAIR_PAUSE_S)
                except TimeoutError:
                    pass

    async def _refresh_fences(self, conn: Connection) -> None:
        """Switch to the fences as they are now, then have put right what was told on the old."""
        if await self._fences.refresh(conn):
            self._work_to_repair.set()

    async def _follow_fences(self) -> None:
        async with Store(self._database_url, f"{self._name}-fences") as store:
            while True:
                # The notice may be lost; the database never is.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FENCES_EVERY_S):
                        await self._fences_edited.wait()
                self._fences_edited.clear()
                await store.insist(self._refresh_fences)

    async def _hear_notices(self) -> None:
        async for heard in self._notices:
            if isinstance(heard, Delivery) and heard.channel == COMMANDS:
                self._commander.wake()
            elif isinstance(heard, Delivery):
                self._fences_edited.set()

    async def _repair(self, store: Store, device_id: int) -> None:
        rules, fences = self._policy.rules, self._fences
        try:
            events = await store.insist(
                lambda conn: repair_device(conn, device_id, rules, CHECKPOINT_EVERY, fences)
            )
        except FencesBehind:
            # Still queued; by the next look the fences are current.
            self._fences_edited.set()
            return
        except Exception:
            # Its request is still queued; the other devices must not wait for it.
            logger.exception("device %d cannot be repaired", device_id)
            return
        await self._publisher.publish(event_announcements(events))
        self.metrics.repaired(len(events))
