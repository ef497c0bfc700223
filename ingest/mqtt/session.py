"""A persistent MQTT session that outlives its connections."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence

from ingest.mqtt import codec
from ingest.mqtt.connection import Connection, Window
from ingest.mqtt.options import SessionOptions
from ingest.mqtt.reader import Message
from tracking.errors import BrokerError

logger = logging.getLogger(__name__)

_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.2, 10.0
# A connection that lived this long was healthy: the next loss starts the backoff anew.
_HEALTHY_S = 10.0
_CONNECT_TIMEOUT_S = 10.0
# The same complaint is logged once in this time, however often the attempt is repeated.
_REPEAT_LOG_S = 60.0


class Session:
    """Receives at least once, acknowledges when told, reconnects for ever.

    One task runs `run`; everything else is called on the same event loop. `on_messages` is called
    synchronously, with messages in the broker's order; an exception from it ends `run`.

    **Every** delivered message's ticket must come back through `ack` exactly once, in the order of
    delivery, also those of lost connections and the -1 of QoS 0: `window` bounds what is out, and
    with it the memory of the process, even across reconnects during an outage of the database.

    Attributes: `connected` (set while subscribed or already receiving), `last_error` (why the last
    attempt failed or the last connection ended, None while connected), and the counters
    `received`, `acked`, `reconnects`, `redelivered`.
    """

    def __init__(
        self, options: SessionOptions, on_messages: Callable[[list[Message]], None]
    ) -> None:
        self.options = options
        self.connected = asyncio.Event()
        self.last_error: BrokerError | None = None
        self.received = 0
        self.acked = 0
        self.reconnects = 0
        self._redelivered = 0
        self._on_messages = on_messages
        self._window = Window(options.window)
        self._connection: Connection | None = None
        self._generation = 0
        self._stopping = asyncio.Event()
        self._publishing: dict[int, asyncio.Future[None]] = {}
        self._packet_id = 1
        self._known = False
        self._owner_error: Exception | None = None
        self._logged: tuple[str, float] = ("", 0.0)

    @property
    def outstanding(self) -> int:
        """Messages delivered and not yet given back through `ack`."""
        return self._window.outstanding

    @property
    def redelivered(self) -> int:
        """Messages received with the DUP flag."""
        current = self._connection.reader.redelivered if self._connection else 0
        return self._redelivered + current

    async def run(self) -> None:
        """Connect, deliver, reconnect with full-jitter backoff; return after `stop`.

        Refusals by the broker (credentials, subscription) are logged with what to do, kept in
        `last_error`, and retried too: their cause is often repaired while we wait.
        Cancelling drops the connection; the broker then redelivers what was not acknowledged.

        Raises:
            Exception: whatever `on_messages` raised.
        """
        attempt = 0
        while not self._stopping.is_set():
            started_s = asyncio.get_running_loop().time()
            try:
                reason = await self._connect_and_serve()
            finally:
                was_connected = self._disconnected()
            if self._owner_error is not None:
                raise self._owner_error
            if self._stopping.is_set():
                break
            lived_s = asyncio.get_running_loop().time() - started_s
            attempt = 0 if lived_s > _HEALTHY_S else attempt + 1
            self._complain(reason, cut_short=was_connected and attempt > 0)
            ceiling_s = min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2 ** min(attempt, 10))
            await self._sleep_unless_stopped(random.uniform(0, ceiling_s))  # noqa: S311 -- jitter

    def ack(self, tickets: Sequence[int]) -> None:
        """Give tickets back and send the PUBACKs of the present connection in one write.

        Those of an earlier connection are not sent: their packet ids mean something else by now,
        and the broker redelivers them.
        """
        if not tickets:
            return
        self._window.outstanding -= len(tickets)
        connection = self._connection
        if connection is None:
            return
        self.acked += connection.acknowledge(tickets)
        if self._stopping.is_set():
            self._disconnect_when_drained()
        else:
            connection.window_changed()

    def pause_delivery(self) -> None:
        """Deliver nothing more until `resume_delivery`; acknowledging and keep-alive go on."""
        self._window.open = False
        if self._connection is not None:
            self._connection.window_changed()

    def resume_delivery(self) -> None:
        """Undo `pause_delivery`."""
        self._window.open = not self._stopping.is_set()
        if self._connection is not None:
            self._connection.window_changed()

    def stop(self, *, drain_s: float = 10.0) -> None:
        """Deliver nothing more, wait for outstanding acks up to `drain_s`, disconnect, end `run`.

        What is not acknowledged by then the broker redelivers to the session's next start.
        """
        if self._stopping.is_set():
            return
        self.pause_delivery()
        self._stopping.set()
        connection = self._connection
        if connection is not None:
            asyncio.get_running_loop().call_later(drain_s, connection.disconnect)
            self._disconnect_when_drained()

    async def wait_connected(self, timeout_s: float) -> None:
        """Return once subscribed, or receiving what a kept session had queued.

        Raises:
            BrokerError: not connected within `timeout_s`; says why the last attempt failed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.connected.wait()
        except TimeoutError:
            raise self.last_error or BrokerError(
                f"no connection to {self._where()} within {timeout_s:g} s"
            ) from None

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        """Publish, at QoS 1 returning after the broker's PUBACK.

        While the window is full, the PUBACK waits behind the messages that do not fit.

        Raises:
            BrokerError: not connected, or lost or unanswered before the PUBACK. Publishing again
                is then right; the message may arrive twice.
        """
        connection = self._connection
        if connection is None or not self.connected.is_set():
            raise BrokerError(f"not published to {topic}: the broker is not connected")
        if qos == 0:
            connection.write(codec.publish(topic, payload, retain=retain))
            return
        packet_id = self._free_packet_id()
        done = asyncio.get_running_loop().create_future()
        self._publishing[packet_id] = done
        connection.write(codec.publish(topic, payload, qos=1, retain=retain, packet_id=packet_id))
        try:
            async with asyncio.timeout(timeout_s):
                await done
        except TimeoutError:
            raise BrokerError(f"no PUBACK for {topic} within {timeout_s:g} s") from None
        finally:
            self._publishing.pop(packet_id, None)

    async def _connect_and_serve(self) -> BaseException:
        """One connection from first to last; returns why it ended."""
        connecting = asyncio.create_task(self._connect(), name="mqtt-connect")
        stopping = asyncio.create_task(self._stopping.wait(), name="mqtt-stop-wait")
        try:
            await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                return BrokerError("stopped while connecting")
            connection = connecting.result()
        except (OSError, BrokerError) as exc:
            return exc
        finally:
            connecting.cancel()
            stopping.cancel()
        if self._stopping.is_set():
            return BrokerError("stopped while connecting")
        return await connection.serve()

    async def _connect(self) -> Connection:
        options = self.options
        self._generation += 1
        connection = Connection(
            low=self._generation << 16,
            max_payload_bytes=options.max_payload_bytes,
            keepalive_s=options.keepalive_s,
            window=self._window,
            on_messages=self._deliver,
            on_puback=self._on_puback,
        )
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().create_connection(
                lambda: connection, options.host, options.port, ssl=options.tls
            )
        self._connection = connection
        code, kept = await connection.open(
            codec.connect(
                client_id=options.client_id,
                keepalive_s=options.keepalive_s,
                username=options.username,
                password=options.password,
            )
        )
        refusal = codec.connack_refusal(code, client_id=options.client_id)
        if refusal:
            raise BrokerError(refusal)
        share = f"$share/{options.group}/" if options.group else ""
        connection.subscribe(
            [share + name for name in options.filters], lambda: self._on_subscribed(kept=kept)
        )
        return connection

    def _on_subscribed(self, *, kept: bool) -> None:
        self._mark_connected()
        logger.info("subscribed at %s as %s", self._where(), self.options.client_id)
        if not kept and self._known:
            logger.warning(
                "%s kept no session for %s: what it queued for it meanwhile, it has dropped",
                self._where(),
                self.options.client_id,
            )
        self._known = True

    def _mark_connected(self) -> None:
        self.last_error = None
        self._logged = ("", 0.0)
        self.connected.set()

    def _deliver(self, messages: list[Message]) -> None:
        self.received += len(messages)
        if not self.connected.is_set():
            # The backlog of a kept session can fill the window before SUBACK is reached.
            self._mark_connected()
        try:
            self._on_messages(messages)
        except Exception as exc:
            self._owner_error = exc
            raise

    def _on_puback(self, packet_id: int) -> None:
        done = self._publishing.get(packet_id)
        if done is not None and not done.done():
            done.set_result(None)

    def _disconnected(self) -> bool:
        """Forget the connection; return whether it had got as far as receiving."""
        connection, self._connection = self._connection, None
        was_connected = self.connected.is_set()
        if connection is None:
            return was_connected
        self._redelivered += connection.reader.redelivered
        connection.fail(BrokerError("the session gave the connection up"))
        self.connected.clear()
        self.reconnects += was_connected and not self._stopping.is_set()
        for done in self._publishing.values():
            if not done.done():
                done.set_exception(BrokerError("the connection was lost before the PUBACK"))
        return was_connected

    def _disconnect_when_drained(self) -> None:
        if self._connection is not None and self._window.outstanding <= 0:
            self._connection.disconnect()

    async def _sleep_unless_stopped(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _free_packet_id(self) -> int:
        # 1 is the SUBSCRIBE's; ids count on their own, apart from the broker's.
        for _ in range(65_535):
            self._packet_id = self._packet_id % 65_535 + 1
            if self._packet_id > 1 and self._packet_id not in self._publishing:
                return self._packet_id
        raise BrokerError("65,534 published messages wait for their PUBACK")

    def _complain(self, reason: BaseException, *, cut_short: bool) -> None:
        sentence = self._sentence(reason)
        if cut_short and isinstance(reason, ConnectionError):
            sentence = (
                f"{self._where()} closed the connection soon after accepting it: has another "
                f"worker the client id {self.options.client_id}?"
            )
        self.last_error = BrokerError(sentence)
        now_s = asyncio.get_running_loop().time()
        if sentence != self._logged[0] or now_s - self._logged[1] > _REPEAT_LOG_S:
            self._logged = (sentence, now_s)
            logger.warning("%s; retrying", sentence)

    def _sentence(self, reason: BaseException) -> str:
        where = self._where()
        if isinstance(reason, BrokerError):
            return f"{where}: {reason}"
        if isinstance(reason, ssl.SSLCertVerificationError):
            return (
                f"{where}: its certificate was not accepted ({reason.verify_message}): set "
                "WAYMARK_MQTT_CA_FILE to the CA that signed it"
            )
        if isinstance(reason, ssl.SSLError):
            return f"{where}: no TLS with it ({reason.reason}): is this its mqtts:// port?"
        if isinstance(reason, TimeoutError):
            return f"{where}: no connection in time: check WAYMARK_MQTT_URL and the network"
        cause = (reason.strerror if isinstance(reason, OSError) else None) or reason
        scheme = "mqtts" if self.options.tls else "mqtt"
        return (
            f"{where}: {cause}: is it running, and is this its {scheme}:// port? "
            "check WAYMARK_MQTT_URL"
        )

    def _where(self) -> str:
        return f"the broker at {self.options.host}:{self.options.port}"
