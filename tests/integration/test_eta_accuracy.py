"""Stored forecasts against arrivals, in a real database: the sums, the api, the command."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from ingest.forecasts import Forecaster
from ingest.monitor import upkeep
from tests.integration.api_site import Rows, Site, api_site
from tests.integration.ingest_rig import START_US, pos
from tests.integration.test_shipments import STEP_S, Office, drive
from tracking.eta.accuracy import (
    HORIZON_NAMES,
    HORIZONS_S,
    Accuracy,
    GroupBy,
    LeftOut,
    judged,
)
from tracking.settings import load_settings
from tracking.shipments import Override
from tracking.store.connection import connect
from tracking.store.eta_forecasts import forecast_errors
from tracking.store.keys import create_key
from tracking.store.shipment_edits import say, unsay
from tracking.times import from_us

START = datetime(2026, 3, 8, tzinfo=UTC)
WEEK = {"from": START.isoformat(), "to": (START + timedelta(days=7)).isoformat()}


@dataclass(frozen=True, slots=True)
class Forecast:
    """One as it was stored; times in seconds since START."""

    shipment: int
    stop: int = 0
    made_s: float = 0.0
    p50_s: float = 600.0
    half_s: float = 60.0
    prior_s: float = 700.0
    legs: int = 1
    lane: str = "Depot > Shop"
    hour: int = 8
    path: str = "detour"
    model: int = 0


class Past(Rows):
    """Shipments that came, and what had been forecast of them."""

    def shipment(self, *arrived_s: float | None) -> int:
        """One that reached its stops at these times; its number."""
        number = self.one(
            "INSERT INTO shipment (tenant_id, id, plan, record) VALUES "
            "(%s, gen_random_uuid(), '{}', %s) RETURNING number",
            (self.tenant_id, self._record(arrived_s)),
        )
        assert isinstance(number, int)
        return number

    def came(self, number: int, *arrived_s: float | None) -> None:
        """It turned out otherwise."""
        self._conn.execute(
            "UPDATE shipment SET record = %s WHERE number = %s", (self._record(arrived_s), number)
        )

    def forecast(self, *forecasts: Forecast) -> None:
        with self._conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO eta_forecast (tenant_id, shipment_number, stop, made_at, p10_at, "
                "p50_at, p90_at, prior_at, legs, lane, local_hour, path, model) VALUES "
                "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    (
                        self.tenant_id, f.shipment, f.stop, at(f.made_s), at(f.p50_s - f.half_s),
                        at(f.p50_s), at(f.p50_s + f.half_s), at(f.prior_s), f.legs, f.lane, f.hour,
                        f.path, f.model,
                    )
                    for f in forecasts
                ],
            )  # fmt: skip

    def kept(self) -> object:
        return self.one("SELECT count(*) FROM eta_forecast")

    @staticmethod
    def _record(arrived_s: tuple[float | None, ...]) -> Jsonb:
        stops = [
            {"arrived_at": None if arrived is None else at(arrived).isoformat()}
            for arrived in arrived_s
        ]
        return Jsonb({"status": "delivered", "since": START.isoformat(), "stops": stops})


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


@pytest.fixture
def past(database_url: str) -> Iterator[Past]:
    with Past(database_url) as past:
        yield past


async def report(site: Site, **params: str | int) -> dict[str, Any]:
    answer = await site.get("/v1/eta/accuracy", **{**WEEK, **params})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


KEYS: dict[GroupBy, Any] = {
    "horizon": lambda _f, horizon: HORIZON_NAMES[horizon],
    "lane": lambda f, _: f.lane,
    "hour": lambda f, _: str(f.hour),
    "path": lambda f, _: f.path,
    "model": lambda f, _: str(f.model),
    "legs": lambda f, _: str(f.legs),
}


def by_hand(
    by: GroupBy, forecasts: list[Forecast], arrived_s: dict[tuple[int, int], float | None]
) -> dict[str, dict[str, float]]:
    """Every figure of every group, counted in the plainest way."""
    of_stop: dict[Any, list[Any]] = defaultdict(list)
    for f in forecasts:
        arrived = arrived_s[f.shipment, f.stop]
        if arrived is not None and arrived - f.made_s >= HORIZONS_S[0]:
            left_s = arrived - f.made_s
            horizon = sum(left_s >= edge for edge in HORIZONS_S) - 1
            of_stop[f.shipment, f.stop, horizon].append((KEYS[by](f, horizon), f, arrived, left_s))
    groups: dict[str, list[Any]] = defaultdict(list)
    for (shipment, stop, _), some in of_stop.items():
        for key, f, arrived, left_s in some:
            groups[key].append((1 / len(some), f, arrived, left_s, (shipment, stop)))
    told = {}
    for key, some in groups.items():
        total = sum(weight for weight, *_ in some)
        far = [one for one in some if one[3] > 120]

        def mean(of: Any, some: Any = some, total: float = total) -> float:  # noqa: ANN401
            return sum(w * of(f, arrived) for w, f, arrived, *_ in some) / total  # type: ignore[no-any-return]

        told[key] = {
            "forecasts": len(some),
            "arrivals": len({one[4] for one in some}),
            "mae_s": mean(lambda f, arrived: abs(f.p50_s - arrived)),
            "bias_s": mean(lambda f, arrived: f.p50_s - arrived),
            "coverage": mean(lambda f, arrived: abs(f.p50_s - arrived) <= f.half_s),
            "width_s": mean(lambda f, _: 2 * f.half_s),
            "prior_mae_s": mean(lambda f, arrived: abs(f.prior_s - arrived)),
        }
        if far:
            told[key]["mape"] = sum(
                w * abs(f.p50_s - arrived) / left for w, f, arrived, left, _ in far
            ) / sum(one[0] for one in far)
    return told


@pytest.mark.parametrize("seed", range(3))
async def test_every_figure_is_what_counting_by_hand_finds(
    database_url: str, past: Past, seed: int
) -> None:
    rng = random.Random(seed)
    arrived_s: dict[tuple[int, int], float | None] = {}
    forecasts = []
    for _ in range(20):
        times = [rng.choice([None, rng.randint(2_000, 20_000)]) for _ in range(rng.randint(1, 3))]
        shipment = past.shipment(*times)
        for stop, arrived in enumerate(times):
            arrived_s[shipment, stop] = arrived
            # Some stops are looked at a hundred times, others once.
            for _ in range(rng.choice([1, 3, 100])):
                to_s = (arrived or 9_000) + rng.randint(-900, 900)
                forecasts.append(
                    Forecast(
                        shipment, stop, rng.randint(0, 21_000), to_s, rng.randint(0, 900),
                        to_s + rng.randint(-900, 900), rng.randint(1, 3), rng.choice("abc"),
                        rng.randint(0, 23), rng.choice(["route", "detour"]), rng.randint(0, 2),
                    )
                )  # fmt: skip
    past.forecast(*forecasts)
    # Those of other times count for nothing.
    past.forecast(replace(forecasts[0], made_s=-1.0), replace(forecasts[0], made_s=30_000.0))
    conn = await connect(database_url, name="test")
    try:
        for by in KEYS:
            bins = await forecast_errors(conn, past.tenant_id, by, START, at(30_000))
            found, expected = judged(by, bins), by_hand(by, forecasts, arrived_s)
            assert {score.key for score in found.groups} == set(expected)
            for score in found.groups:
                for name, value in expected[score.key].items():
                    assert getattr(score, name) == pytest.approx(value, abs=0.06), (score, name)
            left = sum(getattr(found.left_out, name) for name in LeftOut.__struct_fields__)
            assert found.total.forecasts == len(forecasts) - left
            whole = by_hand("path", [replace(f, path="all") for f in forecasts], arrived_s)["all"]
            for name, value in whole.items():
                assert getattr(found.total, name) == pytest.approx(value, abs=0.06), name
    finally:
        await conn.close()


async def test_a_shipment_that_was_looked_at_often_counts_as_once(site: Site, past: Past) -> None:
    past.forecast(Forecast(past.shipment(1_000), made_s=300, p50_s=1_100))
    often = past.shipment(1_000)
    past.forecast(*(Forecast(often, made_s=300 + i / 100, p50_s=1_200) for i in range(50)))
    told = await report(site)
    (score,) = told["items"]
    assert (score["key"], score["forecasts"], score["arrivals"]) == ("10-20 min", 51, 2)
    assert (score["mae_s"], score["bias_s"]) == (150.0, 150.0)
    assert (score["median_s"], score["p90_s"]) == (100.0, 200.0)
    assert score["ratio"] == pytest.approx(150 / 300)
    assert told["total"] == {**score, "key": "all"}


async def test_an_arrival_that_becomes_known_late_moves_the_score(site: Site, past: Past) -> None:
    shipment = past.shipment(None)
    past.forecast(Forecast(shipment, made_s=0, p50_s=600))
    told = await report(site)
    assert (told["items"], told["left_out"]["not_reached"]) == ([], 1)
    assert told["total"]["mae_s"] is None
    for arrived in (660, 630):
        past.came(shipment, arrived)
        told = await report(site)
        assert (told["total"]["forecasts"], told["total"]["mae_s"]) == (1, arrived - 600)
    past.came(shipment, 50)
    assert (await report(site))["left_out"]["last_minute"] == 1
    past.came(shipment, -1)
    assert (await report(site))["left_out"]["made_late"] == 1


async def test_of_many_groups_those_with_most_arrivals_are_told(site: Site, past: Past) -> None:
    for n, lane in ((1, "a"), (3, "b"), (2, "c")):
        past.forecast(*(Forecast(past.shipment(700), lane=lane) for _ in range(n)))
    told = await report(site, by="lane", limit=2)
    assert [(item["key"], item["arrivals"]) for item in told["items"]] == [("b", 3), ("c", 2)]
    assert (told["groups"], told["total"]["arrivals"], told["next"]) == (3, 6, None)


async def test_forecasts_of_others_count_for_nothing(
    site: Site, past: Past, database_url: str
) -> None:
    with Past(database_url, "other") as others:
        others.forecast(Forecast(others.shipment(700), lane="theirs"))
    told = await report(site, by="lane")
    assert (told["items"], sum(told["left_out"].values())) == ([], 0)
    assert past.kept() == 1


async def test_without_a_time_it_is_the_last_week(site: Site, past: Past) -> None:
    now_s = (datetime.now(UTC) - START).total_seconds()
    for days in (1, 6, 8):
        made_s = now_s - days * 86_400
        shipment = past.shipment(made_s + 700)
        past.forecast(Forecast(shipment, made_s=made_s, p50_s=made_s + 600))
    assert (await site.get("/v1/eta/accuracy")).json()["total"]["arrivals"] == 2


@pytest.mark.parametrize(
    ("params", "field"),
    [
        pytest.param({"by": "weekday"}, "by", id="by"),
        pytest.param({"limit": "0"}, "limit", id="limit"),
        pytest.param({"from": "yesterday"}, "from", id="time"),
        pytest.param({"from": "2026-03-09T00:00:00Z", "to": "2026-03-08T00:00:00Z"}, "from"),
    ],
)
async def test_what_means_nothing_is_refused_by_name(
    site: Site, params: dict[str, str], field: str
) -> None:
    answer = await site.get("/v1/eta/accuracy", **params)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_what_somebody_said_is_no_arrival_to_be_judged_by(database_url: str) -> None:
    async with Office(database_url) as office:
        await office.plan()
        number = (await office.shipment()).number

        async def left_out() -> tuple[LeftOut, int]:
            bins = await forecast_errors(office.conn, office.tenant.id, "path", START, at(86_400))
            found = judged("path", bins)
            return found.left_out, found.total.forecasts

        with Past(database_url) as past:
            past.forecast(Forecast(number, 1))
            await say(
                office.conn, office.tenant, "s1", Override(0, "delivered", at(900), made_by="ann")
            )
            assert await left_out() == (LeftOut(overridden=1), 0)
            [(said,)] = await office.rows("SELECT id FROM shipment_override")
            await unsay(office.conn, office.tenant, "s1", said, author="ann")
            assert await left_out() == (LeftOut(not_reached=1), 0)
            past.came(number, None, 900)
            assert await left_out() == (LeftOut(), 1)


async def test_what_the_forecaster_keeps_is_scored_when_the_shipment_came(
    database_url: str,
) -> None:
    drove, shop_s = drive("gps"), 1_310
    async with Office(database_url) as office:
        await office.feed([pos("gps", -600, 4.9, 0.0)])
        await office.plan()
        await office.attach("shipment/s1", "device/gps")
        await office.feed(drove[:60])
        await office.settle()
        looked_at = from_us(START_US + 59 * STEP_S * 1_000_000)
        await Forecaster(900.0).turn(office.conn, looked_at)
        span = looked_at - timedelta(hours=1), looked_at + timedelta(hours=1)

        async def scored() -> Accuracy:
            bins = await forecast_errors(office.conn, office.tenant.id, "horizon", *span)
            return judged("horizon", bins)

        assert (await scored()).left_out == LeftOut(not_reached=1)
        await office.feed(drove[60:])
        await office.settle()
        # It looked twelve minutes ahead, from half of the way.
        (score,) = (await scored()).groups
        assert (score.key, score.forecasts, score.arrivals) == ("10-20 min", 1, 1)
        [(p50_at,)] = await office.rows("SELECT p50_at FROM eta_forecast")
        came_at = from_us(START_US + shop_s * 1_000_000)
        assert score.bias_s == pytest.approx((p50_at - came_at).total_seconds(), abs=0.1)


@pytest.fixture
async def desk(database_url: str, valkey_url: str) -> AsyncIterator[Site]:
    key = create_key(database_url, "default", "desk", "dispatcher")
    async with api_site(database_url, valkey_url, key=key) as site:
        yield site


async def test_forecasts_of_a_stop_that_is_put_elsewhere_are_forgotten(
    desk: Site, past: Past
) -> None:
    places = [{"lon": 5.0, "lat": 52.0}, {"lon": 5.1, "lat": 52.0}]
    stops = [
        {"kind": kind, "place": place}
        for kind, place in zip(("pickup", "delivery"), places, strict=True)
    ]
    made = await desk.client.post("/v1/shipments", json={"id": "s", "stops": stops})
    assert made.status_code == 201, made.text
    number = past.one("SELECT number FROM shipment")
    assert isinstance(number, int)
    past.forecast(Forecast(number, 0), Forecast(number, 1))
    for body, kept in (
        ({"order_ref": "o"}, 2),
        ({"stops": [stops[0], {**stops[1], "name": "Shop"}]}, 2),
        ({"stops": [stops[0], {**stops[1], "place": {"lon": 5.2, "lat": 52.0}}]}, 1),
        ({"stops": stops[:1] * 2}, 1),
    ):
        changed = await desk.client.patch("/v1/shipments/s", json=body)
        assert changed.status_code == 200, changed.text
        assert past.kept() == kept


async def test_old_forecasts_are_removed_whosever_they_are(database_url: str, past: Past) -> None:
    now_s = (datetime.now(UTC) - START).total_seconds()
    with Past(database_url, "other") as others:
        for whose in (past, others):
            for days in (1, 29, 31, 400):
                whose.forecast(Forecast(whose.shipment(), made_s=now_s - days * 86_400))
    conn = await connect(database_url, name="test")
    try:
        await upkeep(conn, load_settings(forecast_days=30))
    finally:
        await conn.close()
    assert past.kept() == 4
