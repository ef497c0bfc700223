"""What one device measured: value by value, and drawn together."""

from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, answer, page
from api.conventions.cursors import read_time_cursor, time_cursor
from api.conventions.problems import Problem, not_found
from api.document.route import documented
from api.examples import fleet as examples
from api.identity.auth import Caller
from api.routers.devices import DeviceName
from api.schemas.charts import Chart, ChartQuery, Curve
from api.schemas.parameters import MeasurementQuery, check_range
from api.services import services_of
from tracking.access import Principal
from tracking.store.charts import chart_distance, chart_measurements, chart_positions
from tracking.store.connection import Connection
from tracking.store.devices import devices_of
from tracking.store.measurements import (
    Measurement,
    MeasurementFilter,
    MeasurementKey,
    read_measurements,
)

router = APIRouter(prefix="/v1/devices", tags=["devices"])


@router.get(
    "/{name}/measurements",
    **documented(
        "listDeviceMeasurements",
        Page[Measurement],
        example=examples.page_of(examples.MEASUREMENT),
    ),
)
async def measurements(
    request: Request,
    caller: Caller,
    name: DeviceName,
    query: Annotated[MeasurementQuery, Query()],
) -> Response:
    """What a device measured, oldest first."""
    check_range(query.start, query.end)
    device_id = await _device(request, caller, name)
    wanted = MeasurementFilter(
        None if query.metric is None else tuple(query.metric), query.start, query.end
    )
    after = read_time_cursor(query.cursor, MeasurementKey)

    async def read(conn: Connection) -> list[Measurement]:
        found: list[Measurement] = []
        pages = read_measurements(
            conn, caller.tenant_id, [device_id], wanted, after=after, limit=query.limit + 1
        )
        async with aclosing(pages):
            async for some in pages:
                found += some.measurements([name])
        return found

    found = await services_of(request).pool.run(read)
    items = found[: query.limit]
    more = None
    if len(found) > len(items):
        more = time_cursor(MeasurementKey(items[-1].fix_time, items[-1].metric))
    return page(items, more)


@router.get("/{name}/charts", **documented("chartDevice", Chart, example=examples.CHART))
async def charts(
    request: Request, caller: Caller, name: DeviceName, query: Annotated[ChartQuery, Query()]
) -> Response:
    """What a device measured and how it moved, by bucket; gaps are told as what they are."""
    if query.start >= query.end:
        raise Problem(422, "from: it is not before `to`", field="from")
    buckets = query.buckets()
    positions = set(query.position or ())
    if "distance_m" in positions or not buckets.hourly:
        buckets.must_be_short()
    device_id = await _device(request, caller, name)
    pool = services_of(request).pool
    whose = caller.tenant_id, device_id, buckets
    measured = await pool.run(chart_measurements, *whose, query.metric)
    moved = await pool.run(chart_positions, *whose) if positions - {"distance_m"} else {}
    distance = await pool.run(chart_distance, *whose) if "distance_m" in positions else None
    n = len(buckets.starts)
    return answer(
        Chart(
            device=name,
            bucket=buckets.name,
            time_zone=query.time_zone,
            starts=buckets.starts,
            measurements={metric: Curve.of(series, n) for metric, series in measured.items()},
            positions={
                metric: Curve.of(series, n)
                for metric, series in moved.items()
                if metric in positions
            },
            distance_m=None
            if distance is None
            else [round(distance[i], 1) if i in distance else None for i in range(n)],
        )
    )


async def _device(request: Request, caller: Principal, name: str) -> int:
    found = await services_of(request).pool.run(devices_of, caller.tenant_id, [name], None)
    if not found:
        raise not_found(f"device {name!r}")
    return found[name]
