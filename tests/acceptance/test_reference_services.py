"""The services of `examples/`, killed and started at random under load, end with the truth."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import reference_truth as truth
from tests.acceptance.fronts import Api
from tests.acceptance.haulage import LOAD_S, Collections, Haulage, Office, perform, publish
from tests.acceptance.reference_rig import Program, Service, blows
from tests.acceptance.rig import World
from tests.integration.hooks_rig import OPEN
from tests.services import free_port, wait_until
from tracking.store.keys import create_key

SEED = 20261128
KILLS = 7
# Webhooks may lead to this machine.
OPENED = {
    "WAYMARK_SECRET_KEY": str(OPEN["secret_key"]),
    "WAYMARK_WEBHOOK_ALLOW_NETS": "127.0.0.0/8",
    "WAYMARK_WEBHOOK_PORTS": "",
    "WAYMARK_WEBHOOK_HTTP": "true",
}

Json = dict[str, Any]


class Site:
    """Waymark's processes, and the three services that follow it."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        env = {
            "WAYMARK_DATABASE_URL": world.postgres.url(),
            "WAYMARK_REDIS_URL": world.valkey.url,
            **OPENED,
        }
        self.api = Api(world, folder / "api.log", OPENED)
        self.inner = [
            Program(("waymark", name), env, folder / f"{name}.log")
            for name in ("monitor", "deliver")
        ]
        self.url = f"http://127.0.0.1:{self.api.port}"
        port = free_port()
        self.office = Office(self.url, self._key("office", "admin"), f"http://127.0.0.1:{port}")
        cursor = "SELECT cursor FROM place"
        self.orders = self._service(folder, "orders", cursor)
        self.shipping = self._service(folder, "shipping", cursor)
        self.pickup = self._service(folder, "pickup", "SELECT count(*) FROM letter", port)

    def _key(self, name: str, role: str) -> str:
        return create_key(self.world.postgres.url(), "default", name, role)

    def _service(self, folder: Path, name: str, progress: str, port: int | None = None) -> Service:
        key = self._key(name, "viewer" if port is None else "service")
        env = {"API_URL": self.url, "API_KEY": key}
        arguments = () if port is None else ("--port", str(port))
        return Service(name, folder, env, progress, random.Random(f"{SEED} {name}"), arguments)

    @property
    def services(self) -> list[Service]:
        return [self.orders, self.shipping, self.pickup]

    def hook(self) -> None:
        """What the operator of the pickup service does once."""
        made = self.office.ask(
            "POST", "/v1/webhooks",
            {
                "id": "pickups", "url": f"{self.office.pickups_url}/waymark",
                "filter": {"types": ["pickup.*", "shipment.*", "stop.*"]},
            },
        )  # fmt: skip
        self.pickup.program.env = {**self.pickup.env, "WEBHOOK_SECRET": made["secret"]}


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """All of it, the services not yet started; whatever becomes of the test, nothing stays."""
    with World(folder / "world", workers=1) as world, ExitStack() as stack:
        made = Site(world, folder)
        stack.enter_context(made.office.client)
        for program in made.inner:
            program.start()
            stack.callback(program.stop)
        made.api.start()
        stack.callback(made.api.stop)
        made.hook()
        for service in made.services:
            stack.callback(service.end)
        yield made


def storm(site: Site) -> Haulage:
    """Everything at once, until all is sent, said and done."""
    haulage, collections = Haulage(SEED, site.office), Collections(SEED, site.office)
    haulage.prepare()
    for service in site.services:
        service.program.start()
    over = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        try:
            hastening = pool.submit(hasten, site.world, over)
            started = time.monotonic()
            tasks = [
                *(pool.submit(service.attack, KILLS) for service in site.services),
                pool.submit(publish, site.world.broker.url, haulage.messages, started),
                pool.submit(perform, haulage.acts(), started),
                pool.submit(perform, collections.acts(), started),
                pool.submit(strike, site),
            ]
            for task in tasks:
                task.result()
        finally:
            over.set()
        hastening.result()
    return haulage


def strike(site: Site) -> None:
    """Redis is away for a while, and the api is restarted."""
    valkey, api = site.world.valkey, site.api
    blows(
        (LOAD_S * 0.25, valkey.kill),
        (LOAD_S * 0.4, valkey.start),
        (LOAD_S * 0.6, api.stop),
        (LOAD_S * 0.6, api.start),
    )


def hasten(world: World, over: threading.Event) -> None:
    """Have webhooks that were refused tried again at once, as if the minutes had passed."""
    while not over.wait(2.0):
        world.execute(
            "WITH due AS (UPDATE webhook_head SET due_at = now() "
            "WHERE due_at > now() + interval '1 second' RETURNING webhook_number) "
            "UPDATE webhook_progress SET nudge = nudge + 1, due_at = now() "
            "WHERE webhook_number IN (SELECT webhook_number FROM due)"
        )


def settle(site: Site, fixes: int) -> int:
    """Wait until nobody has anything to do any more; how far the tenant's log is then."""
    world = site.world
    idle = (
        "SELECT (SELECT count(*) FROM position), (SELECT count(*) FROM repair), "
        "(SELECT count(*) FROM shipment WHERE dirty OR due_at <= now()), "
        "(SELECT count(*) FROM shipment_eta WHERE next_at <= now()), "
        "(SELECT bool_and(c.cursor = t.feed_cursor) FROM shipment_cursor c JOIN tenant t "
        "ON t.id = c.tenant_id)"
    )
    wait_until(lambda: world.rows(idle) == [(fixes, 0, 0, 0, True)], "all is derived", 30)
    delivered = (
        "SELECT p.cursor = t.feed_cursor AND NOT EXISTS (SELECT FROM webhook_head) "
        "FROM webhook_progress p JOIN tenant t ON t.id = p.tenant_id"
    )
    wait_until(lambda: world.rows(delivered) == [(True,)], "every webhook is delivered", 30)
    for service, wanted in ((site.orders, truth.OF_ORDERS), (site.shipping, truth.OF_SHIPPING)):
        last = f"SELECT max(cursor) FROM event WHERE {wanted}"  # noqa: S608 -- ours
        wait_until(
            lambda s=service, q=last: s.rows("SELECT cursor FROM place") == world.rows(q),  # type: ignore[misc]
            f"{service.name} has heard all", 30,
        )  # fmt: skip
    wait_until(lambda: site.pickup.truth()["todo"] == 0, "no pickup waits", 30)
    return end_of_log(world)


def end_of_log(world: World) -> int:
    [(cursor,)] = world.rows("SELECT feed_cursor FROM tenant WHERE name = 'default'")
    return int(cursor)


@pytest.mark.timeout(300)
def test_killed_at_random_under_load_each_service_ends_with_the_truth_of_the_database(
    tmp_path: Path,
) -> None:
    with site(tmp_path) as made:
        haulage = storm(made)
        # Facts that time alone brings may come any moment: what is compared is of one moment.
        upto = -1
        while upto != end_of_log(made.world):
            upto = settle(made, haulage.fixes)
            orders, shipping, pickup = (service.truth() for service in made.services)
            expected = truth.of_orders(made.world), truth.of_shipping(made.world)
        assert orders["orders"] == expected[0]
        assert {name: shipping[name] for name in expected[1]} == expected[1]
        each_fact_and_notice_once(made, orders["journal"])
        each_failed_attempt_planned_anew_once(made, pickup)
        for service in made.services:
            service.program.stop()


def each_fact_and_notice_once(site: Site, journal: list[Json]) -> None:
    kept = site.orders.rows("SELECT id, revision, holds FROM fact ORDER BY id")
    assert kept == truth.facts(site.world, truth.OF_ORDERS)
    assert truth.standing(journal) == truth.notices(site.world)
    assert any(line["act"] == "withdrawn" for line in journal), "history was amended"
    assert len(kept) > 300


def each_failed_attempt_planned_anew_once(site: Site, told: Json) -> None:
    assert told["pickups"] == truth.of_pickups(site.world)
    heard = {letter for (letter,) in site.pickup.rows("SELECT id FROM letter")}
    events = truth.facts(site.world, truth.OF_PICKUPS)
    assert {f"{id_}_{revision}" for id_, revision, _ in events} <= heard
    attempts = site.world.rows(
        "SELECT id::text FROM event WHERE type = 'pickup.attempted' ORDER BY id::text"
    )
    assert [(errand["attempt"],) for errand in told["errands"]] == attempts
    done = [one for one in told["errands"] if one["state"] == "done"]
    planned = sorted((one["pickup"], one["planned"]) for one in done)
    assert planned == truth.planned_anew(site.world)
    assert len(done) > 5
