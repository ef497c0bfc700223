"""Two tenants with something of everything, for tests that attack every route.

Whoever adds a noun adds its seed here: what it is called in paths (`ids`), what a list needs to be
asked (`params`), and, where the example in the OpenAPI document cannot reach for another's rows, a
body that does (`bodies`). Everything a tenant owns has its `mark` in it somewhere.
"""

from collections.abc import Callable
from typing import Any

import httpx
import psycopg

from tests.integration.api_site import NOON, Rows, later
from tests.services import TIMEOUT_FACTOR
from tracking.store.keys import create_key

_AT = NOON.isoformat()
_CIRCLE = {"type": "Circle", "center": [5.1, 52.1], "radius_m": 150}
_AREA = {"shape": _CIRCLE, "start": _AT, "end": later(3_600).isoformat()}


class Land:
    """One tenant of the world, seen by an admin of its own."""

    def __init__(self, database_url: str, address: str, mark: str) -> None:
        self.mark = mark
        self.rows = Rows(database_url, mark)
        self.keys = {
            role: create_key(database_url, mark, f"{mark}-{role}", role)
            for role in ("admin", "dispatcher", "service", "viewer")
        }
        self.admin = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {self.keys['admin']}"},
            timeout=20 * TIMEOUT_FACTOR,
            trust_env=False,
        )
        # By the segment before it and its name: `fences.id` is the {id} of /v1/fences/{id}.
        self.ids: dict[str, str] = {}
        self.params: dict[str, dict[str, str]] = {}
        self.bodies: dict[tuple[str, str], Any] = {}
        for seed in _SEEDS:
            seed(self)

    def named(self, what: str) -> str:
        """A name with the tenant's mark."""
        return f"{self.mark}-{what}"

    def made(self, path: str, body: object, method: str = "POST") -> Any:  # noqa: ANN401 -- JSON
        """What the api answers to something made by the admin."""
        answer = self.admin.request(method, path, json=body)
        assert answer.status_code in {200, 201, 202}, f"{method} {path}: {answer.text}"
        return answer.json()

    def path(self, template: str) -> str:
        """A path of the api with this tenant's ids; raises KeyError for a noun without a seed."""
        parts = template.split("/")
        return "/".join(
            self.ids[f"{before}.{part[1:-1]}"] if part.startswith("{") else part
            for before, part in zip(["", *parts], parts, strict=False)
        )

    def close(self) -> None:
        """Let go of the connections."""
        self.admin.close()
        self.rows.__exit__()


def _devices(land: Land) -> None:
    van = land.ids["devices.name"] = land.named("van")
    device_id = land.rows.device(van)
    land.rows.fixes(device_id, 3)
    land.rows.reason(van, "stale", 1)
    land.rows.dead_letter(f"{land.mark} payload".encode(), device=van)
    (letter,) = land.admin.get("/v1/dead-letters").json()["items"]
    land.ids["dead-letters.id"] = str(letter["id"])
    land.bodies["POST", "/v1/areas/devices"] = _AREA
    land.bodies["PATCH", "/v1/devices"] = {"devices": [{"name": van, "tags": ["cold"]}]}
    land.bodies["POST", "/v1/devices"] = {"name": land.named("lorry")}


def _credentials_and_commands(land: Land) -> None:
    device = land.path("/v1/devices/{name}")
    made = land.made(device + "/credentials", {"kind": "password", "label": land.named("label")})
    land.ids["credentials.id"] = str(made["id"])
    command = {"name": "interval", "payload": {"for": land.mark}}
    land.ids["commands.id"] = str(land.made(device + "/commands", command)["id"])


def _fences_and_events(land: Land) -> None:
    fence = land.ids["fences.id"] = land.named("depot")
    body = {"name": land.named("depot"), "shape": _CIRCLE}
    land.made(f"/v1/fences/{fence}", body, "PUT")
    van = land.ids["devices.name"]
    told = {"fence": fence, "fence_name": fence, "fence_version": 1}
    entered = land.rows.event(van, "fence.entered", data=told, rule=fence)
    land.ids["events.id"] = entered.id
    rule = land.ids["rules.id"] = land.named("rule")
    land.ids["alerts.id"] = land.rows.alert(entered, rule)
    land.params["/v1/events/why-not"] = {"device": van, "fence": fence, "at": _AT}
    preview = {"start": _AT, "end": later(3_600).isoformat(), "fence": {"shape": _CIRCLE}}
    land.bodies["POST", "/v1/fences/preview"] = {**preview, "devices": [van]}
    land.bodies["PUT", "/v1/fences"] = {"fences": [{"id": land.named("yard"), "shape": _CIRCLE}]}
    land.bodies["POST", "/v1/alerts/acknowledge"] = {"ids": [land.ids["alerts.id"]]}


def _assets(land: Land) -> None:
    truck = land.ids["assets.id"] = land.named("truck")
    land.made("/v1/assets", {"id": truck, "kind": "vehicle", "name": truck})
    attached = {
        "load": {"kind": "device", "id": land.ids["devices.name"]},
        "carrier": {"kind": "asset", "id": truck},
        "from": _AT,
    }
    land.ids["attachments.id"] = str(land.made("/v1/attachments", attached)["id"])
    land.made("/v1/assets", {"id": land.named("pallet"), "kind": "pallet"})
    pallet = {"kind": "asset", "id": land.named("pallet")}
    land.bodies["POST", "/v1/attachments"] = {**attached, "load": pallet}


def _shipments(land: Land) -> None:
    shipment, order = land.named("shipment"), land.named("order")
    stops = [
        {"kind": kind, "name": land.named(kind), "fence": land.ids["fences.id"]}
        for kind in ("pickup", "delivery")
    ]
    body = {"id": shipment, "order_ref": order, "stops": stops}
    land.made("/v1/shipments", body)
    land.ids |= {"shipments.id": shipment, "orders.ref": order}
    land.made(f"/v1/shipments/{shipment}/overrides", {"act": "arrived", "stop": 0, "at": _AT})
    delivered = {"act": "delivered", "stop": 1, "at": _AT, "note": land.mark}
    land.made(f"/v1/shipments/{shipment}/overrides", delivered)
    (_, override) = land.admin.get(f"/v1/shipments/{shipment}/overrides").json()["items"]
    land.ids["overrides.number"] = str(override["id"])
    carried = {
        "load": {"kind": "shipment", "id": shipment},
        "carrier": {"kind": "device", "id": land.ids["devices.name"]},
        "from": _AT,
    }
    land.made("/v1/attachments", carried)
    land.params["/v1/shipments/{id}/track"] = {"from": _AT, "to": later(3_600).isoformat()}


def _pickups_and_links(land: Land) -> None:
    place = {"lon": 5.1, "lat": 52.1, "radius_m": 150}
    window = {"from": _AT, "to": later(3_600).isoformat(), "time_zone": "Europe/Amsterdam"}
    pickup = land.ids["pickups.id"] = land.named("pickup")
    body = {"id": pickup, "name": pickup, "place": place, "window": window}
    land.made("/v1/pickups", {**body, "deliver_to": _delivery(land)})
    link = land.made(land.path("/v1/shipments/{id}/share"), {})
    land.ids["share.link"] = str(link["id"])


def _delivery(land: Land) -> dict[str, str]:
    return {"kind": "delivery", "name": land.named("dock"), "fence": land.ids["fences.id"]}


def _forecasts(land: Land) -> None:
    """One, made a quarter of an hour before its stop was reached."""
    land.rows.one(
        "WITH reached AS (UPDATE shipment SET record = jsonb_set(record, '{stops,0,arrived_at}', "
        "to_jsonb(%(told)s::text)) WHERE tenant_id = %(tenant)s AND id = %(shipment)s "
        "RETURNING number) INSERT INTO eta_forecast (tenant_id, shipment_number, stop, made_at, "
        "p10_at, p50_at, p90_at, prior_at, legs, lane, local_hour, path, model) SELECT %(tenant)s, "
        "number, 0, %(made)s, %(at)s, %(at)s, %(at)s, %(at)s, 1, %(lane)s, 12, 'detour', 0 "
        "FROM reached RETURNING id",
        {
            "tenant": land.rows.tenant_id,
            "shipment": land.ids["shipments.id"],
            "made": NOON,
            "at": later(900),
            "told": later(900).isoformat(),
            "lane": land.named("lane"),
        },
    )
    land.params["/v1/eta/accuracy"] = {"by": "lane", "from": _AT, "to": later(3_600).isoformat()}


def _series(land: Land) -> None:
    land.rows.one(
        "INSERT INTO measurement (device_id, fix_time, metric, tenant_id, received_at, value) "
        "SELECT id, %s, 'temperature_c', tenant_id, %s, 4 FROM device WHERE name = %s "
        "RETURNING tenant_id",
        (NOON, NOON, land.ids["devices.name"]),
    )
    place = {"lon": 5.1, "lat": 52.1}
    drive: dict[str, object] = {
        "started_at": later(60).isoformat(),
        "duration_s": 60.0,
        "distance_m": 900.0,
    }
    drive |= {"from": place, "to": place, "reason": "stay"}
    began = land.rows.event(land.ids["devices.name"], "trip.started", time=later(60), data=place)
    land.ids["trips.id"] = began.id
    land.rows.event(land.ids["devices.name"], "trip.ended", time=later(120), data=drive)
    hour = {"from": _AT, "to": later(3_600).isoformat()}
    for what in ("positions", "measurements", "events", "trips", "detention"):
        land.params[f"/v1/exports/{what}"] = hour
    land.params["/v1/devices/{name}/charts"] = hour
    line = {"device": land.ids["devices.name"], "t": _AT, "lon": 5.1, "lat": 52.1}
    land.ids["backfill.id"] = str(land.made("/v1/backfill", line)["id"])


def _webhooks(land: Land) -> None:
    hook = land.ids["webhooks.id"] = land.named("hook")
    land.made("/v1/webhooks", {"id": hook, "url": "https://example.com/", "description": hook})
    row = land.rows.one(
        "INSERT INTO webhook_delivery (tenant_id, webhook_number, message, event_id, type, "
        "subject, state, tries) SELECT tenant_id, number, %s, %s, 'trip.started', %s, 'dead', 1 "
        "FROM webhook WHERE tenant_id = %s RETURNING number",
        (land.mark, land.ids["events.id"], land.named("van"), land.rows.tenant_id),
    )
    land.ids["deliveries.number"] = str(row)


def _people(land: Land) -> None:
    body = {"email": f"{land.mark}@example.com", "role": "viewer", "name": land.named("ann")}
    land.ids["users.id"] = str(land.made("/v1/users", body)["id"])
    land.bodies["PATCH", "/v1/users/{id}"] = {"role": "dispatcher"}
    key = land.made("/v1/api-keys", {"name": land.named("key")})
    land.ids["api-keys.id"] = str(key["id"])
    # Of whoever is signed in, and an API key is not.
    land.ids["sessions.id"] = "00000000-0000-4000-8000-000000000000"


def _privacy(land: Land) -> None:
    land.rows.device(land.named("gone"))
    erasure = land.made("/v1/privacy/erasures", {"device": land.named("gone")})
    land.ids["erasures.id"] = str(erasure["id"])
    land.bodies["POST", "/v1/privacy/erasures"] = {"device": land.ids["devices.name"]}


_SEEDS: tuple[Callable[[Land], None], ...] = (
    _devices,
    _credentials_and_commands,
    _fences_and_events,
    _assets,
    _shipments,
    _pickups_and_links,
    _forecasts,
    _series,
    _webhooks,
    _people,
    _privacy,
)


def rows_of(database_url: str, tenant_id: int) -> dict[str, str]:
    """A digest of everything a tenant has, by table: what nobody else may have changed."""
    with psycopg.connect(database_url) as conn:
        tables = conn.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') "
            "AND NOT c.relispartition AND a.attname = 'tenant_id'"
        ).fetchall()
        digests = {}
        for (table,) in tables:
            row = conn.execute(
                f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t "  # noqa: S608 -- of the catalogue
                "WHERE t.tenant_id = %s",
                (tenant_id,),
            ).fetchone()
            digests[table] = str(row and row[0])
    return digests
