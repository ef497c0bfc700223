"""A device that gets commands and answers them, by a client that is not ours."""

import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.services import TIMEOUT_FACTOR, Mosquitto

Answers = Callable[[dict[str, Any]], list[dict[str, Any]]]


def obey(command: dict[str, Any]) -> list[dict[str, Any]]:
    """Do it at once."""
    return [{"id": command["id"], "status": "succeeded", "result": {"did": command["name"]}}]


def ignore(_: dict[str, Any]) -> list[dict[str, Any]]:
    """Say nothing."""
    return []


class CommandedDevice:
    """Connected for the time of the context; `answers` decides what it says to a command.

    Without `said` it publishes no status, as devices do that know none.
    """

    def __init__(
        self, broker: Mosquitto, name: str, answers: Answers = obey, *, said: bool = True
    ) -> None:
        self.name = name
        self.commands: list[dict[str, Any]] = []
        self._answers = answers
        self._changed = threading.Condition()
        self._ready = False
        self._said = said
        client = Client(CallbackAPIVersion.VERSION2, f"device-{name}")
        client.on_connect = lambda c, *_: c.subscribe(self._topic("cmd"), qos=1)
        client.on_subscribe = lambda *_: self._subscribed()
        client.on_message = self._on_message
        if said:
            client.will_set(self._topic("status"), b'{"online": false}', qos=1, retain=True)
        self.client = client
        self._broker = broker

    def _topic(self, channel: str) -> str:
        return f"wm/default/{self.name}/{channel}"

    def _subscribed(self) -> None:
        if self._said:
            self.say("status", {"online": True}, retain=True)
        with self._changed:
            self._ready = True
            self._changed.notify_all()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        command = json.loads(message.payload)
        for answer in self._answers(command):
            self.say("ack", answer)
        with self._changed:
            self.commands.append(command)
            self._changed.notify_all()

    def say(self, channel: str, body: dict[str, Any], *, retain: bool = False) -> None:
        self.client.publish(self._topic(channel), json.dumps(body), qos=1, retain=retain)

    def got(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many commands came."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.commands) >= count, 30 * TIMEOUT_FACTOR
            ), f"{self.name} got {len(self.commands)} of {count} commands"
            return list(self.commands)

    def vanish(self) -> None:
        """Lose the connection, so that the broker says the will."""
        sock = self.client.socket()
        assert sock is not None
        self.client.loop_stop()
        sock.close()

    def __enter__(self) -> Self:
        self.client.connect(self._broker.host, self._broker.port)
        self.client.loop_start()
        with self._changed:
            assert self._changed.wait_for(lambda: self._ready, 20 * TIMEOUT_FACTOR)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()
