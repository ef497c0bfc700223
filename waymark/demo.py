"""The demonstration: everything on this machine, a simulated fleet, and a count of what arrives.

The fleet is `firmware-sim`, a program of its own that speaks MQTT only; what is shown beside it is
what a websocket client and the database see.
"""

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Self

import psycopg
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tracking.errors import WaymarkError
from tracking.fence_import import read_import
from tracking.store.fence_edits import save_fences
from waymark.demo_shipment import PLANNED_S, Sent, planned, read_fixes, send
from waymark.fence import run_for
from waymark.lifeline import Child, Lifeline
from waymark.system import System

_SOURCE = Path(__file__).parents[1]
_SIMULATOR = [sys.executable, "-P", "-m", "firmware_sim"]

# After the fleet's last message was acknowledged by the broker, what is in flight settles within
# milliseconds; this only bounds a demonstration that is broken.
_SETTLE_S = 60.0
_RETRY_S = 0.5

_TOTALS = """
SELECT coalesce(sum(received), 0)::bigint, coalesce(sum(stored), 0)::bigint,
       coalesce(sum(duplicate), 0)::bigint, coalesce(sum(conflict), 0)::bigint,
       coalesce(sum(late), 0)::bigint, count(*),
       (SELECT coalesce(sum(n), 0)::bigint FROM dead_letter),
       (SELECT coalesce(sum(feed_cursor), 0)::bigint FROM tenant),
       (SELECT count(*) FROM repair)
FROM device_state
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the database holds."""

    received: int
    stored: int
    duplicate: int
    conflict: int
    late: int
    devices: int
    dead_letters: int
    events: int
    repairs: int


class Demo:
    """A running system with a fleet on it. `run` does everything; one thread."""

    def __init__(self, system: System, *, devices: int, for_s: float, seed: int) -> None:
        self._system = system
        self._devices = devices
        self._for_s = for_s
        self._seed = seed
        self._database = _Database(lambda: system.entrances.database)
        self._sent: Sent | None = None

    def ship(self) -> str | None:
        """Plan a shipment on the first vehicle, before the fleet starts; the page that shows it.

        None where the vehicle stops too seldom to bring anything anywhere.
        """
        one = ["--devices", "1", "--readers", "0", "--sensors", "0", "--seed", str(self._seed)]
        lines = _simulated("plan", *one, "--for", str(PLANNED_S)).splitlines()
        start = datetime.now(UTC).replace(microsecond=0)
        plan = planned(list(read_fixes(map(bytes.decode, lines))), start)
        if plan is not None:
            entrances = self._system.entrances
            self._sent = send(entrances.http, entrances.api_key, plan, start)
        return None if self._sent is None else self._sent.page

    def run(self, *, until: threading.Event, report: Callable[[str], None]) -> dict[str, Any]:
        """Drive the fleet until its time is over or `until` is set; return the summary.

        Raises:
            WaymarkError: the fleet ended by itself with an error.
        """
        with ExitStack() as cleanup:
            feed = cleanup.enter_context(_FeedWatch(self._system))
            self._fence_depots()
            lifeline = Lifeline()
            cleanup.callback(lifeline.close)
            fleet = self._fleet(lifeline)
            fleet.start()
            cleanup.callback(fleet.stop)
            started_s = time.monotonic()
            for second in count(1):
                if not fleet.alive or until.is_set():
                    break
                self._heal_until(started_s + second, until)
                report(self._status(second, feed))
            fleet.ask_to_stop()
            fleet.wait(_SETTLE_S)
            published = self._published(fleet)
            totals = self._settle(published)
            return {
                "seconds": round(time.monotonic() - started_s, 1),
                "fleet": published,
                "database": asdict(totals),
                "feed": feed.summary(),
                "shipment": None if self._sent is None else self._sent._asdict(),
            }

    def _fence_depots(self) -> None:
        """Make fences of the fleet's depots, so that it has somewhere to arrive."""
        drawn = _simulated("depots", *self._fleet_options())
        drafts = read_import(drawn, name="depots.geojson").drafts
        run_for(
            self._system.entrances.database,
            "default",
            lambda conn, tenant_id: save_fences(conn, tenant_id, drafts, author="demo"),
        )

    def _fleet_options(self) -> list[str]:
        return ["--devices", str(self._devices), "--seed", str(self._seed)]

    def _fleet(self, lifeline: Lifeline) -> Child:
        arguments = [
            "run", "--mqtt", self._system.entrances.mqtt, *self._fleet_options(),
            "--for", str(self._for_s), "--json",
            # Devices on time, so that what the feed shows as lag is ours.
            "--faults", "mild", "--clock-skew", "0",
        ]  # fmt: skip
        log = self._system.data_dir / "logs" / "firmware-sim.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        return Child(
            lifeline,
            "firmware-sim",
            [*_SIMULATOR, *arguments],
            log=log,
            env=_simulator_env(),
            grace_s=int(_SETTLE_S),
        )

    def _heal_until(self, deadline_s: float, until: threading.Event) -> None:
        while (left_s := deadline_s - time.monotonic()) > 0 and not until.wait(min(left_s, 0.1)):
            self._system.heal()

    def _status(self, second: int, feed: "_FeedWatch") -> str:
        totals, lag_ms = self._database.totals(), feed.lag_ms()
        if totals is None:
            return f"{second:>5} s   the database is away; readings wait at the broker"
        lag = "-" if math.isnan(lag_ms) else f"{lag_ms:.0f} ms"
        return (
            f"{second:>5} s   {totals.received + totals.dead_letters:>9,} messages   "
            f"{totals.stored:>9,} rows   {totals.events:>6,} events   {lag:>8} lag"
        )

    @staticmethod
    def _published(fleet: Child) -> dict[str, Any]:
        if fleet.exit_code:
            raise WaymarkError(f"firmware-sim failed: {fleet.last_words()} (log: {fleet.log})")
        last = fleet.log.read_text().strip().rsplit("\n", 1)[-1]
        summary: dict[str, Any] = json.loads(last)
        return summary

    def _settle(self, published: dict[str, Any]) -> Totals:
        """Wait until everything the broker acknowledged is in the database and repaired."""
        deadline_s = time.monotonic() + _SETTLE_S
        before = None
        while time.monotonic() < deadline_s:
            self._system.heal()
            totals = self._database.totals()
            if totals is not None and totals == before and totals.repairs == 0:
                return totals
            before = totals
            time.sleep(_RETRY_S)
        raise WaymarkError(f"not everything of {published} settled within {_SETTLE_S:.0f} s")


def _simulated(*arguments: str) -> bytes:
    """What the simulator tells without publishing."""
    told = subprocess.run(  # noqa: S603 -- our own program
        [*_SIMULATOR, *arguments], env=_simulator_env(), capture_output=True, check=False
    )
    if told.returncode:
        raise WaymarkError(f"firmware-sim failed: {told.stderr.decode()[-500:]}")
    return told.stdout


def _simulator_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{_SOURCE / 'firmware-sim'}:{_SOURCE}"}


class _Database:
    """Asks the database for its totals; None while it is away."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._conn: psycopg.Connection[tuple[Any, ...]] | None = None

    def totals(self) -> Totals | None:
        try:
            if self._conn is None or self._conn.closed:
                self._conn = psycopg.connect(self._url(), autocommit=True, connect_timeout=2)
            row = self._conn.execute(_TOTALS).fetchone()
        except psycopg.OperationalError:
            return None
        return None if row is None else Totals(*row)


class _FeedWatch:
    """A websocket client like any other, in a thread: what it received, and how late."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._stopping = threading.Event()
        self._lags_ms: deque[float] = deque(maxlen=2_000)
        self._positions = 0
        self._events = 0
        self._cursor: int | None = None
        self._thread = threading.Thread(target=self._run, name="demo.feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def lag_ms(self) -> float:
        """Median of the last positions' way from the device's clock to here; NaN without any."""
        return median(self._lags_ms) if self._lags_ms else math.nan

    def summary(self) -> dict[str, Any]:
        """What was received so far."""
        lag_ms = self.lag_ms()
        return {
            "positions": self._positions,
            "events": self._events,
            "lag_ms_p50": None if math.isnan(lag_ms) else round(lag_ms, 1),
        }

    def _run(self) -> None:
        url = self._system.entrances.http.replace("http", "ws", 1) + "/v1/feed"
        while not self._stopping.is_set():
            try:
                with connect(url, open_timeout=5, max_size=None) as socket:
                    self._listen(socket)
            except (OSError, WebSocketException, TimeoutError):
                self._stopping.wait(_RETRY_S)

    def _listen(self, socket: ClientConnection) -> None:
        socket.send(json.dumps({"op": "auth", "token": self._system.entrances.api_key}))
        request: dict[str, Any] = {"op": "subscribe", "id": "demo", "filter": {}}
        if self._cursor is not None:
            request["since"] = self._cursor
        socket.send(json.dumps(request))
        while not self._stopping.is_set():
            try:
                frame = json.loads(socket.recv(timeout=_RETRY_S))
            except TimeoutError:
                continue
            if frame["type"] == "snapshot":
                self._cursor = frame["cursor"]
            elif frame["type"] == "event":
                self._events += 1
                self._cursor = frame["cursor"]
            elif frame["type"] == "positions":
                self._note(frame["updates"])

    def _note(self, updates: list[dict[str, Any]]) -> None:
        now = datetime.now(UTC)
        self._positions += len(updates)
        self._lags_ms.extend(
            (now - datetime.fromisoformat(update["fix_time"])).total_seconds() * 1e3
            for update in updates
        )
