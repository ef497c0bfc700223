"""Half an hour of a haulier in half a minute: trucks that drive shipments, an office that edits.

By the devices' clocks it happened since half an hour ago. It becomes known now: late, twice, out of
order, and with attachments that were wrong at first. All of it follows from one seed.
"""

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.services import TIMEOUT_FACTOR

TRUCKS, SHIPMENTS, ORDERS, PICKUPS = 32, 44, 13, 14
LOAD_S = 17.0
# A thousandth of a degree, 111 m along the equator, each 10 s.
_STEP_DEG, _STEP_S = 0.001, 10
_ARRIVES_S = 1_310
_WRONG, _MOVED, _REPLANNED = 10, 8, 8

Json = dict[str, Any]


class Act(NamedTuple):
    """Something somebody does at a second of the load."""

    at_s: float
    do: Callable[[], object]


class Sent(NamedTuple):
    """A message and when it is published."""

    at_s: float
    topic: str
    payload: bytes


@dataclass
class Office:
    """Whoever plans, attaches and says things over the api, as long as that takes."""

    url: str
    key: str
    pickups_url: str
    client: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=10))
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def ask(self, method: str, path: str, body: Json | None = None, *, patient: int = 404) -> Json:
        """Ask until it is answered; `patient` is a refusal that passes by itself."""
        key = f"act-{next(self._numbers)}"
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": key}
        base = "" if path.startswith("http") else self.url
        deadline = time.monotonic() + 30 * TIMEOUT_FACTOR
        while True:
            try:
                answer = self.client.request(method, base + path, json=body, headers=headers)
            except httpx.TransportError as exc:
                fault = str(exc)
            else:
                if answer.is_success:
                    found: Json = answer.json() if answer.content else {}
                    return found
                fault = answer.text
                passes = answer.status_code in {429, 502, 503, patient} or (
                    "retry-after" in answer.headers
                )
                assert passes, f"{method} {path} {body}: {fault}"
            assert time.monotonic() < deadline, f"{method} {path}: {fault}"
            time.sleep(0.1)


class Haulage:
    """What is driven and done, as lists of what is to happen when."""

    def __init__(self, seed: int, office: Office) -> None:
        self._rng = random.Random(seed)
        self._office = office
        self._start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=29)
        self.messages = sorted(m for truck in range(TRUCKS) for m in self._drive(truck))
        self.fixes = len({(m.topic, m.payload) for m in self.messages})

    def prepare(self) -> None:
        """The fleet, and what was planned before anybody followed."""
        ask = self._office.ask
        for n in range(TRUCKS):
            ask("POST", "/v1/devices", {"name": f"gps-{n}"})
            ask("POST", "/v1/assets", {"id": f"truck-{n}", "kind": "truck"})
            self._attach(f"device/gps-{n}", f"asset/truck-{n}")
        for n in range(6):
            self._plan(n)

    def acts(self) -> list[Act]:
        """What the office does with shipments."""
        rng, acts = self._rng, list[Act]()
        for n in range(SHIPMENTS):
            planned_s = 0.0 if n < 6 else rng.uniform(0, LOAD_S / 2)
            if n >= 6:
                acts.append(Act(planned_s, partial(self._plan, n)))
            # Never loaded, and cancelled in the end.
            off = n >= _WRONG and n % 9 == 8
            attached_s = planned_s + rng.uniform(0, 5)
            if n < _WRONG:
                acts += self._attach_wrongly(n, attached_s)
            elif not off:
                act = self._unload if n % 12 == 0 else self._load
                acts.append(Act(attached_s, partial(act, n)))
            if off or n % 4 == 3:
                acts += self._say(n, "cancelled" if off else "delivered")
        for n in rng.sample(range(SHIPMENTS), _MOVED):
            ref = f"o-{rng.randrange(ORDERS)}"
            acts.append(Act(self._any_s(), partial(self._move, n, ref)))
        for n in rng.sample(range(SHIPMENTS), _REPLANNED):
            acts.append(Act(self._any_s(), partial(self._replan, n)))
        return sorted(acts, key=lambda act: act.at_s)

    def _any_s(self) -> float:
        """When all are planned."""
        return self._rng.uniform(LOAD_S / 2 + 1, LOAD_S)

    def _plan(self, n: int) -> None:
        row = 0.02 * (n % TRUCKS)
        # Missed; kept, though it is over and seems missed until that is known; or of tomorrow.
        until = (
            self._start
            + [
                timedelta(seconds=_ARRIVES_S - 200),
                timedelta(seconds=_ARRIVES_S + 200),
                timedelta(days=1),
            ][n % 3]
        )
        shop = {"lon": 5.1, "lat": row, "radius_m": 150}
        stops: list[Json] = [
            {"kind": "pickup", "name": "Depot", "place": {**shop, "lon": 5.0}, "service_s": 120},
            {"kind": "delivery", "name": "Shop", "place": shop, "window": {"to": _json(until)}},
        ]  # fmt: skip
        if n % 4 == 0:
            stops.insert(1, {"kind": "delivery", "name": "Kiosk", "place": {**shop, "lon": 5.05}})
        plan: Json = {"id": f"s-{n}", "order_ref": f"o-{n % ORDERS}", "stops": stops}
        if n % 5 == 2:
            # A detour that nobody drives; and who stands on the way for two minutes is stalled.
            way = [[5.0, row], [5.02, row], [5.03, row + 0.01], [5.06, row + 0.01], [5.1, row]]
            plan["route"] = {"line": {"type": "LineString", "coordinates": way}}
            plan["limits"] = {"stalled_after_s": 60}
        self._office.ask("POST", "/v1/shipments", plan)

    def _attach(self, load: str, carrier: str, **more: str) -> int:
        ends = {
            end: dict(zip(("kind", "id"), name.split("/"), strict=True))
            for end, name in (("load", load), ("carrier", carrier))
        }
        begin = _json(self._start - timedelta(minutes=5))
        body = {**ends, "from": begin, **more}
        return int(self._office.ask("POST", "/v1/attachments", body)["id"])

    def _load(self, n: int) -> int:
        return self._attach(f"shipment/s-{n}", f"asset/truck-{n % TRUCKS}")

    def _unload(self, n: int) -> None:
        """Loaded, and taken off at the kiosk, with the shop still to come."""
        there = self._start + timedelta(seconds=_STEP_S * 88)
        self._office.ask("PATCH", f"/v1/attachments/{self._load(n)}", {"to": _json(there)})

    def _attach_wrongly(self, n: int, at_s: float) -> list[Act]:
        """To another truck first, or for too short a time; put right later."""
        later_s = self._rng.uniform(at_s + 2, LOAD_S)
        made: list[int] = []
        ask = self._office.ask
        if n % 2:
            other = f"asset/truck-{(n + 7) % TRUCKS}"

            def mend() -> None:
                ask("DELETE", f"/v1/attachments/{made[0]}")
                self._load(n)

            wrong = Act(at_s, lambda: made.append(self._attach(f"shipment/s-{n}", other)))
            return [wrong, Act(later_s, mend)]
        late = _json(self._start + timedelta(seconds=_ARRIVES_S / 2))
        begin = _json(self._start - timedelta(minutes=5))

        def shorten() -> None:
            made.append(self._load(n))
            ask("PATCH", f"/v1/attachments/{made[0]}", {"from": late})

        return [
            Act(at_s, shorten),
            Act(later_s, lambda: ask("PATCH", f"/v1/attachments/{made[0]}", {"from": begin})),
        ]

    def _move(self, n: int, ref: str) -> None:
        self._office.ask("PATCH", f"/v1/shipments/s-{n}", {"order_ref": ref})

    def _replan(self, n: int) -> None:
        shipment = self._office.ask("GET", f"/v1/shipments/s-{n}")
        stops = [
            {
                "kind": stop["kind"], "name": stop["name"], "place": stop["place"],
                "service_s": 60.0 * n,
                "window": {"to": (self._start + timedelta(hours=30)).isoformat()},
            }
            for stop in shipment["stops"]
        ]  # fmt: skip
        self._office.ask("PATCH", f"/v1/shipments/s-{n}", {"stops": stops})

    def _say(self, n: int, act: str) -> list[Act]:
        """An override; every other one is withdrawn."""
        said_s = self._rng.uniform(LOAD_S / 2 + 1, LOAD_S - 2)
        at = self._start + timedelta(seconds=1_400)
        said: Json = {"act": act, "at": at.isoformat(), "proof": {"name": "J. Doe"}}
        path = f"/v1/shipments/s-{n}/overrides"

        def withdraw() -> None:
            for one in self._office.ask("GET", path)["items"]:
                self._office.ask("DELETE", f"{path}/{one['id']}")

        acts = [Act(said_s, lambda: self._office.ask("POST", path, said))]
        if n % 2:
            acts.append(Act(self._rng.uniform(said_s, LOAD_S), withdraw))
        return acts

    def _drive(self, truck: int) -> list[Sent]:
        """From 2 km before the depot to 3 km behind the shop, with stops of 2 min.

        Sent in ten seconds, each message a little out of its turn; of some trucks the middle comes
        last, and one in fifteen comes twice.
        """
        rng = self._rng
        lon = [4.98 + _STEP_DEG * i for i in range(20)] + [5.0] * 12
        lon += [5.0 + _STEP_DEG * i for i in range(50)] + [5.05] * 12
        lon += [5.05 + _STEP_DEG * i for i in range(38)] + [5.1] * 12
        # Every eighth is still on its way in the end.
        lon = lon[:110] if truck % 8 == 7 else lon + [5.1 + _STEP_DEG * i for i in range(30)]
        begin_s, spread_s = rng.uniform(0, LOAD_S - 10), 9.0
        found = []
        for i, at in enumerate(lon):
            body = {
                "t": (self._start + timedelta(seconds=_STEP_S * i)).isoformat(),
                "lon": round(at, 6), "lat": 0.02 * truck, "seq": i,
                "speed_mps": 0.0 if at in {5.0, 5.05, 5.1} else 11.0,
            }  # fmt: skip
            at_s = begin_s + spread_s * i / len(lon) + rng.gauss(0, 0.3)
            if truck % 5 == 1 and 60 < i < 100:
                at_s = begin_s + spread_s + 1
            sent = Sent(at_s, f"wm/default/gps-{truck}/pos", json.dumps(body).encode())
            found += [sent, sent._replace(at_s=at_s + 2)] if rng.random() < 1 / 15 else [sent]
        return found


class Collections:
    """Pickups: asked of the pickup service, tried in vain, planned anew by it, and made."""

    def __init__(self, seed: int, office: Office) -> None:
        self._rng = random.Random(seed)
        self._office = office

    def acts(self) -> list[Act]:
        """What happens to them, in time."""
        acts = list[Act]()
        for n in range(PICKUPS):
            at_s = self._rng.uniform(0, LOAD_S / 2)
            acts.append(Act(at_s, partial(self._ask, n)))
            later_s = at_s + self._rng.uniform(1, 4)
            if n % 3:
                acts.append(Act(later_s, partial(self._fail, n, 1)))
                later_s += self._rng.uniform(1, 3)
            if n % 6 == 1:
                acts.append(Act(later_s, partial(self._fail, n, 2)))
            if n % 4 == 0:
                acts.append(Act(later_s + 1, partial(self._collect, n)))
            if n % 7 == 6:
                acts.append(Act(later_s + 1, partial(self._call_off, n)))
        return sorted(acts, key=lambda act: act.at_s)

    def _ask(self, n: int) -> None:
        self._office.ask(
            "POST", f"{self._office.pickups_url}/pickups",
            {"id": f"p-{n}", "order_ref": f"p-{n}", "place": {"lon": 7.0, "lat": 0.02 * n}},
        )  # fmt: skip

    def _fail(self, n: int, nth: int) -> None:
        """Nobody is there; the driver comes a second time when he was told to."""
        ask, path = self._office.ask, f"/v1/pickups/p-{n}"
        at = datetime.now(UTC)
        while nth > 1 and ask("GET", path)["status"] == "failed":
            time.sleep(0.1)
            assert datetime.now(UTC) < at + timedelta(seconds=60 * TIMEOUT_FACTOR)
        ask("POST", f"{path}/attempts", {"reason": f"closed {nth}", "at": at.isoformat()})

    def _collect(self, n: int) -> None:
        for act in ("arrived", "departed"):
            self._office.ask("POST", f"/v1/shipments/p-{n}/overrides", {"act": act, "stop": 0})

    def _call_off(self, n: int) -> None:
        self._office.ask("DELETE", f"/v1/pickups/p-{n}")


def _json(moment: datetime) -> str:
    return moment.isoformat()


def perform(acts: Sequence[Act], started: float) -> None:
    """Do everything at its second."""
    for act in acts:
        time.sleep(max(0.0, started + act.at_s - time.monotonic()))
        act.do()


def publish(broker: str, messages: Sequence[Sent], started: float) -> None:
    """Publish everything at its second, and wait until the broker has it."""
    address = urlsplit(broker)
    client = Client(CallbackAPIVersion.VERSION2, client_id="haulage")
    client.max_inflight_messages_set(1_000)
    client.connect(address.hostname or "", address.port or 0)
    client.loop_start()
    last = []
    for sent in messages:
        time.sleep(max(0.0, started + sent.at_s - time.monotonic()))
        last.append(client.publish(sent.topic, sent.payload, qos=1))
    for one in last:
        one.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()
