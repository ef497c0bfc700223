"""What devices do on command and what they answer. Pure, apart from the simulation it changes.

`interval` sets the seconds between two observations of a vehicle or sensor; `ping` does nothing.
"""

import json
from collections import OrderedDict
from typing import Any

from firmware_sim.plan import Simulation

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_MIN_INTERVAL_S, _MAX_INTERVAL_S = 0.01, 86_400.0
# A broker that is not sure sends a command again; soon, or with the next connection.
_REMEMBERED = 10_000


class Console:
    """Takes commands for all devices of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._answers: OrderedDict[str, bytes] = OrderedDict()
        self.obeyed = 0

    def obey(self, device: str, payload: bytes) -> bytes | None:
        """Do a command once, however often it comes; the answer, None to what is no command."""
        try:
            command = json.loads(payload)
            id_, name = command["id"], command["name"]
        except (ValueError, TypeError, KeyError):
            return None
        if not isinstance(id_, str):
            return None
        known = self._answers.get(id_)
        if known is not None:
            return known
        status, result = self._do(device, name, command.get("payload"))
        answer = _encode({"id": id_, "status": status, "result": result}).encode()
        self._answers[id_] = answer
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        self.obeyed += status == "succeeded"
        return answer

    def _do(self, device: str, name: object, payload: object) -> tuple[str, dict[str, Any]]:
        if name == "ping":
            return "succeeded", {}
        if name != "interval":
            return "failed", {"error": f"no such command: {name}"}
        wanted = payload.get("interval_s") if isinstance(payload, dict) else None
        # Written so that NaN and everything that is no number fail too.
        if not isinstance(wanted, (int, float)) or not (
            _MIN_INTERVAL_S <= wanted <= _MAX_INTERVAL_S
        ):
            return "failed", {"error": "interval_s: give 0.01 to 86400 seconds"}
        if not self._simulation.set_interval(device, float(wanted)):
            return "failed", {"error": "this device has no interval"}
        return "succeeded", {"interval_s": wanted}
