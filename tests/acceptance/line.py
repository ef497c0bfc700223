"""Lorries on the road from Barneveld to Zwolle: some that drove it this morning, some that do now.

What the first took is to be learned; of the others it is known when they will truly arrive.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.acceptance.day import DOCK, ROAD, SHOP, attachment, bent, place
from tests.acceptance.office import Office, truth_of
from tests.services import wait_until

if TYPE_CHECKING:
    import subprocess

# It takes them some 35 minutes.
_KMH = 80
_DROVE = (80, 76, 84, 79)
_LEFT_AGO_MIN = (27, 22, 17, 12, 7, 2)
_HISTORY_MIN = 32
_INTERVAL_S = 10


class Line:
    """The shipments of one tenant on that road, one to a lorry; a tracker is called as both."""

    def __init__(self, office: Office, folder: Path) -> None:
        self.office = office
        self.folder = folder
        self._lorries: subprocess.Popen[bytes] | None = None
        now = datetime.now(UTC).replace(microsecond=0)
        self.morning = self._journey(
            "morning", now - timedelta(hours=5),
            {
                f"morning-{n}": [
                    {"stay_s": 900 + 600 * n}, {"drive": ROAD, "kmh": kmh}, {"stay_s": 900},
                    {"drive": bent(SHOP, (6.20, 52.56), 0.1), "kmh": 60}, {"stay_s": 600},
                ]
                for n, kmh in enumerate(_DROVE)
            },
        )  # fmt: skip
        self.under_way = self._journey(
            "now", now - timedelta(minutes=_HISTORY_MIN),
            {
                f"now-{n}": [
                    {"stay_s": 60 * (_HISTORY_MIN - left_min)}, {"drive": ROAD, "kmh": _KMH},
                    {"stay_s": 900},
                ]
                for n, left_min in enumerate(_LEFT_AGO_MIN)
            },
        )  # fmt: skip

    def drive_in_the_morning(self) -> None:
        """Have those of the morning driven and delivered."""
        drove = self.office.drive(self.morning.options, self.folder / "morning.jsonl", "--fast")
        assert drove.wait(60) == 0
        self._ship_all(self.morning, self.morning.start)
        delivered = {"order": "line", "status": "delivered"}
        wait_until(
            lambda: (
                len(self.office.get("/shipments", **delivered)["items"])
                == len(self.morning.arrives)
            ),
            "the morning is over",
            30,
        )

    def set_off(self) -> None:
        """Have the others where they are now, and go on; only then is told what is on them.

        Else they would first be forecast as they were half an hour ago, and again when it is time.
        """
        self._lorries = self.office.drive(
            self.under_way.options, self.folder / "now.jsonl", "--catch-up"
        )
        recently = datetime.now(UTC) - timedelta(seconds=2 * _INTERVAL_S)
        self._ship_all(self.under_way, recently)

    def fall_silent(self) -> None:
        """Nothing is heard of them any more; doing so twice is harmless."""
        if self._lorries is not None:
            self._lorries.terminate()
            assert self._lorries.wait(30) == 0
            self._lorries = None

    def _ship_all(self, journey: "Journey", since: datetime) -> None:
        """Plan a shipment on each lorry once it was seen since a moment."""
        for name in journey.arrives:
            wait_until(lambda n=name: self.office.has_seen(n, since), f"{name} is seen", 30)  # type: ignore[misc]
            self._ship(name, journey.start)

    def _ship(self, name: str, start: datetime) -> None:
        """Plan a shipment on a lorry that stands at the dock from then on."""
        stops = [
            {"kind": "pickup", "name": "Barneveld", "place": place(DOCK), "service_s": 1_800},
            {"kind": "delivery", "name": "Zwolle", "place": place(SHOP)},
        ]
        route = {"line": {"type": "LineString", "coordinates": ROAD}}
        self.office.post(
            "/shipments", {"id": name, "order_ref": "line", "stops": stops, "route": route}
        )
        self.office.post("/attachments", attachment(f"shipment/{name}", f"device/{name}", start))

    def _journey(
        self, name: str, start: datetime, acts: dict[str, list[dict[str, Any]]]
    ) -> "Journey":
        vehicles = [
            {"vehicle": one, "device": one, "at": DOCK, "acts": does} for one, does in acts.items()
        ]
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({"vehicles": vehicles}))
        options = ["--start", start.isoformat(), "--interval", str(_INTERVAL_S), "--jitter", "6"]
        return Journey(name, [str(file), *options], start)


def under_way(office: Office) -> dict[str, dict[str, Any]]:
    """What who asks for the order is told of those on their way."""
    items = office.get("/orders/line/tracking")["items"]
    return {item["id"]: item for item in items if item["id"].startswith("now-")}


class Journey:
    """Lorries that leave the dock, and when they truly come to the shop."""

    def __init__(self, name: str, options: list[str], start: datetime) -> None:
        self.name = name
        self.options = options
        self.start = start
        # The first drive of each leads there.
        self.arrives: dict[str, datetime] = {}
        for one in truth_of(options):
            if one["act"] == "drive":
                self.arrives.setdefault(one["vehicle"], datetime.fromisoformat(one["to"]))
