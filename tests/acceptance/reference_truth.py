"""What the reference services must know in the end, asked of the database in words of its own."""

from collections import defaultdict
from typing import Any

from tests.acceptance.rig import World

Json = dict[str, Any]

# What each service follows.
OF_ORDERS = (
    "type IN ('shipment.status_changed', 'shipment.delayed', 'shipment.eta_changed', "
    "'stop.arrived')"
)
OF_SHIPPING = "(type LIKE 'shipment.%' OR type LIKE 'stop.%' OR type LIKE 'route.%')"
OF_PICKUPS = "(type LIKE 'shipment.%' OR type LIKE 'stop.%' OR type LIKE 'pickup.%')"

# Of the last stop, while it is ahead.
_ETA = """(SELECT (e ->> 'arrive')::timestamptz FROM shipment_eta x
    CROSS JOIN jsonb_array_elements(x.estimate -> 'stops') e
    WHERE x.shipment_number = s.number AND (e ->> 'stop')::integer = jsonb_array_length(
        s.plan -> 'stops') - 1 AND s.status NOT IN ('delivered', 'cancelled')
    AND s.record -> 'stops' -> -1 ->> 'arrived_at' IS NULL)"""


def of_orders(world: World) -> Json:
    """Orders as the shipments' records have them."""
    orders: Json = {}
    for ref, id_, status, since, delayed, eta in world.rows(
        "SELECT order_ref, id, record ->> 'status', (record ->> 'since')::timestamptz, "  # noqa: S608 -- ours
        f"record -> 'exceptions' ? 'delayed', {_ETA} FROM shipment s"
    ):
        order = orders.setdefault(ref, {"delivered": 0, "delayed": 0, "shipments": {}})
        order["delivered"] += status == "delivered"
        order["delayed"] += delayed
        order["shipments"][id_] = {"status": status, "since": text(since), "eta": text(eta)}
    return orders


def facts(world: World, wanted: str) -> list[tuple[str, int, int]]:
    """Every event some service follows: its id, its revision, and whether it holds."""
    return [
        (id_, revision, holds)
        for id_, revision, holds in world.rows(
            "SELECT id::text, revision, (status = 'active')::integer FROM event "  # noqa: S608 -- ours
            f"WHERE {wanted} ORDER BY id::text"
        )
    ]


def notices(world: World) -> set[tuple[str, str]]:
    """What customers are to know: whatever holds, however often its time was corrected."""
    return {
        (shipment, what)
        for shipment, what in world.rows(
            "SELECT data ->> 'shipment', CASE type WHEN 'shipment.delayed' "
            "THEN 'delayed at ' || (data ->> 'stop') ELSE data ->> 'to' END "
            "FROM event WHERE status = 'active' AND (type = 'shipment.delayed' "
            "OR type = 'shipment.status_changed' AND data ->> 'to' IN ('in_transit', 'delivered'))"
        )
    }


def standing(journal: list[Json]) -> set[tuple[str, str]]:
    """What customers believe after all they were told, nothing of it twice."""
    acts = defaultdict[tuple[str, str], list[str]](list)
    for line in journal:
        acts[line["shipment"], line["what"]].append(line["act"])
    for notice, said in acts.items():
        # Told, withdrawn, told again: never the same twice running.
        turns = [act == "withdrawn" for act in said]
        assert turns == [n % 2 == 1 for n in range(len(said))], f"{notice}: {said}"
    return {notice for notice, said in acts.items() if said[-1] != "withdrawn"}


def of_shipping(world: World) -> Json:
    """Shipments and stops as the database has them."""
    shipments = world.rows(
        "SELECT id, version, order_ref, record ->> 'status', "
        "(record ->> 'since')::timestamptz, (record ->> 'next_stop')::integer, (SELECT "
        "coalesce(string_agg(e, ',' ORDER BY e), '') FROM jsonb_array_elements_text(record -> "
        "'exceptions') e) FROM shipment"
    )
    stops = world.rows(
        "SELECT s.id, p.n - 1, p.stop ->> 'kind', p.stop ->> 'name', "
        "(p.stop -> 'window' ->> 'from')::timestamptz, (p.stop -> 'window' ->> 'to')::timestamptz, "
        "(r.stop ->> 'arrived_at')::timestamptz, (r.stop ->> 'departed_at')::timestamptz, "
        "(r.stop ->> 'done')::boolean::integer FROM shipment s "
        "CROSS JOIN jsonb_array_elements(s.plan -> 'stops') WITH ORDINALITY p(stop, n) "
        "JOIN jsonb_array_elements(s.record -> 'stops') WITH ORDINALITY r(stop, n) ON r.n = p.n"
    )
    return {
        "shipments": {row[0]: [*row[1:4], text(row[4]), *row[5:]] for row in shipments},
        "trouble": {row[0]: row[-1].split(",") for row in shipments if row[-1]},
        "stops": {f"{row[0]}/{row[1]}": [*row[2:4], *map(text, row[4:8]), row[8]] for row in stops},
    }


def of_pickups(world: World) -> list[Json]:
    """Pickups as the database has them."""
    found = world.rows(
        "SELECT p.id, CASE WHEN p.cancelled_at IS NOT NULL OR s.status = 'cancelled' "
        "THEN 'cancelled' WHEN (s.record -> 'stops' -> 0 ->> 'done')::boolean "
        "THEN 'picked_up' WHEN s.record ->> 'at_stop' = '0' THEN 'at_stop' "
        "WHEN p.failed_at IS NOT NULL THEN 'failed' ELSE 'scheduled' END, "
        "(s.plan -> 'stops' -> 0 -> 'window' ->> 'from')::timestamptz, "
        "(s.plan -> 'stops' -> 0 -> 'window' ->> 'to')::timestamptz, "
        "(SELECT count(*) FROM pickup_attempt a WHERE a.pickup_number = p.number) "
        "FROM pickup p JOIN shipment s ON s.number = p.shipment_number ORDER BY p.id"
    )
    return [
        {
            "id": id_, "state": "made", "status": status, "planned": text(planned),
            "until": text(until), "attempts": attempts,
        }
        for id_, status, planned, until, attempts in found
    ]  # fmt: skip


def planned_anew(world: World) -> list[tuple[str, str | None]]:
    """Each time a pickup was planned for another time, and for when."""
    found = world.rows(
        "SELECT data ->> 'pickup', (data ->> 'planned_from')::timestamptz FROM event "
        "WHERE type = 'pickup.rescheduled' AND status = 'active' ORDER BY 1, 2"
    )
    return [(pickup, text(planned)) for pickup, planned in found]


def text(moment: Any) -> str | None:  # noqa: ANN401 -- what psycopg found
    """A moment as the services write it."""
    return None if moment is None else moment.isoformat(timespec="microseconds")
