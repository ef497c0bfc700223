"""The owner of a session as the tests need it, and an independent publisher."""

import asyncio
import json
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import paho.mqtt.publish

from ingest.mqtt import Message, Session, SessionOptions
from tests.services import TIMEOUT_FACTOR


class Owner:
    """Collects what a session delivers and acknowledges when the test says so.

    `numbers` are the payloads in order of arrival; `most_outstanding` the largest window seen.
    """

    def __init__(
        self,
        port: int,
        client_id: str = "worker",
        *,
        group: str | None = None,
        window: int = 1_000,
        keepalive_s: int = 30,
        max_payload_bytes: int = 1_000,
    ) -> None:
        self._set_up(
            SessionOptions(
                host="127.0.0.1",
                port=port,
                client_id=client_id,
                filters=("wm/#",),
                group=group,
                window=window,
                keepalive_s=keepalive_s,
                max_payload_bytes=max_payload_bytes,
            )
        )

    @classmethod
    def of(cls, options: SessionOptions) -> Self:
        owner = cls.__new__(cls)
        owner._set_up(options)
        return owner

    def _set_up(self, options: SessionOptions) -> None:
        self.messages: list[Message] = []
        self.unacked: list[int] = []
        self.most_outstanding = 0
        self.session = Session(options, self._on_messages)

    def _on_messages(self, messages: list[Message]) -> None:
        self.messages += messages
        self.unacked += [message.ticket for message in messages]
        self.most_outstanding = max(self.most_outstanding, self.session.outstanding)

    @property
    def numbers(self) -> list[int]:
        return [json.loads(message.payload) for message in self.messages]

    def start(self) -> None:
        self.task = asyncio.create_task(self.session.run(), name="mqtt-session")

    async def end(self) -> None:
        """Stop without waiting for acknowledgements."""
        self.session.stop(drain_s=0)
        async with asyncio.timeout(10 * TIMEOUT_FACTOR):
            await self.task

    async def __aenter__(self) -> Self:
        self.start()
        try:
            await self.session.wait_connected(10 * TIMEOUT_FACTOR)
        except BaseException:
            await self.end()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end()

    def ack(self, count: int | None = None) -> None:
        """Acknowledge the oldest `count` messages, or all."""
        some = self.unacked[:count]
        del self.unacked[: len(some)]
        self.session.ack(some)

    async def ack_until(self, condition: Callable[[], object], what: str) -> None:
        """Acknowledge by age, as the pipeline does, until `condition` holds."""

        def acked_and_met() -> object:
            self.ack()
            return condition()

        await until(acked_and_met, what)

    async def acks_arrived(self) -> None:
        """Return once the broker has read every PUBACK sent so far: TCP keeps the order."""
        await self.session.publish("other/marker", b"")


async def until(condition: Callable[[], object], what: str, timeout_s: float = 20) -> None:
    """Wait for `condition`, letting the loop run.

    Raises:
        TimeoutError: naming `what` did not happen.
    """
    try:
        async with asyncio.timeout(timeout_s * TIMEOUT_FACTOR):
            while not condition():  # noqa: ASYNC110 -- conditions here are plain attributes
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise TimeoutError(f"in vain: {what}") from None


async def send(port: int, numbers: Iterable[int], *, qos: int = 1, retain: bool = False) -> None:
    """Publish each number to `wm/t/d/pos` by an independent client, in order."""
    messages: list[Any] = [("wm/t/d/pos", str(number), qos, retain) for number in numbers]
    await asyncio.to_thread(
        paho.mqtt.publish.multiple, messages, hostname="127.0.0.1", port=port, client_id="sender"
    )
