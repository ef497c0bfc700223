"""Forecasts as they were made, compared with when shipments came.

When a stop was reached is read from the shipment's record, which late events and edits move; so
nothing is scored twice, and nothing stays scored wrongly.
"""

from datetime import datetime

import msgspec
from psycopg import sql

from tracking.eta.accuracy import HORIZON_NAMES, HORIZONS_S, LIMITS_S, RELATIVE_FROM_S, Bin, GroupBy
from tracking.shipments import Plan
from tracking.store.connection import Connection

_KEYS: dict[GroupBy, str] = {
    "horizon": "(%(names)s::text[])[horizon]",
    "lane": "lane",
    "hour": "local_hour::text",
    "path": "path",
    "model": "model::text",
    "legs": "legs::text",
}

# Millions of forecasts become some thousand rows.
_SCORED = """
WITH reached AS MATERIALIZED (
    SELECT s.number, r.stop - 1 AS stop, (r.told ->> 'arrived_at')::timestamptz AS arrived_at,
        -- What is said counts instead of what was seen, so an arrival that was said has its time.
        EXISTS (SELECT FROM shipment_override o WHERE o.shipment_number = s.number
            AND o.withdrawn_at IS NULL AND o.act <> 'cancelled'
            AND coalesce(o.stop, r.stop - 1) = r.stop - 1
            AND o.at = (r.told ->> 'arrived_at')::timestamptz) AS said
    FROM shipment s, jsonb_array_elements(s.record -> 'stops') WITH ORDINALITY AS r (told, stop)
    WHERE s.tenant_id = %(tenant_id)s AND EXISTS (
        SELECT FROM eta_forecast f WHERE f.shipment_number = s.number
        AND f.made_at >= %(start)s AND f.made_at < %(end)s)
), compared AS (
    SELECT f.*, r.arrived_at, r.said,
        date_part('epoch', r.arrived_at - f.made_at) AS left_s,
        date_part('epoch', f.p50_at - r.arrived_at) AS error_s
    FROM eta_forecast f LEFT JOIN reached r ON r.number = f.shipment_number AND r.stop = f.stop
    WHERE f.tenant_id = %(tenant_id)s AND f.made_at >= %(start)s AND f.made_at < %(end)s
), sorted AS (
    SELECT *, width_bucket(left_s, %(horizons)s::float8[]) AS horizon,
        CASE WHEN left_s IS NULL THEN 'not_reached' WHEN said THEN 'overridden'
            WHEN left_s <= 0 THEN 'made_late' WHEN left_s < (%(horizons)s::float8[])[1]
            THEN 'last_minute' END AS unscored
    FROM compared
), samples AS (
    SELECT shipment_number, stop, horizon, unscored, {key} AS key, count(*) AS n,
        avg(error_s) AS error_s, avg(abs(error_s)) AS abs_error_s,
        avg((arrived_at BETWEEN p10_at AND p90_at)::int)::float8 AS inside,
        avg(date_part('epoch', p90_at - p10_at)) AS width_s,
        avg(abs(date_part('epoch', prior_at - arrived_at))) AS prior_abs_error_s,
        sum(abs(error_s) / left_s) FILTER (WHERE left_s > %(relative_from)s) / count(*) AS relative,
        avg((left_s > %(relative_from)s)::int)::float8 AS far
    FROM sorted GROUP BY 1, 2, 3, 4, 5
), weighed AS (
    SELECT *, CASE WHEN unscored IS NULL THEN
            width_bucket(abs_error_s, %(limits)s::float8[]) END AS bin,
        n::float8 / sum(n) OVER (PARTITION BY shipment_number, stop, horizon, unscored) AS weight,
        1.0::float8 / count(*) OVER (PARTITION BY shipment_number, stop, unscored, key) AS arrival,
        1.0::float8 / count(*) OVER (PARTITION BY shipment_number, stop, unscored)
            AS arrival_of_all
    FROM samples
)
SELECT unscored, CASE WHEN unscored IS NULL THEN key END, bin, sum(n)::bigint,
    sum(arrival), sum(arrival_of_all), sum(weight), sum(error_s * weight),
    sum(abs_error_s * weight), sum(inside * weight), sum(width_s * weight),
    sum(prior_abs_error_s * weight), sum(relative * weight), sum(far * weight)
FROM weighed GROUP BY 1, 2, 3
"""


async def forecast_errors(
    conn: Connection, tenant_id: int, by: GroupBy, start: datetime, end: datetime
) -> list[Bin]:
    """Errors of the forecasts made in [start, end), by group, for `tracking.eta.accuracy`."""
    found = await conn.execute(
        sql.SQL(_SCORED).format(key=sql.SQL(_KEYS[by])),
        {
            "tenant_id": tenant_id,
            "start": start,
            "end": end,
            "horizons": list(HORIZONS_S),
            "names": list(HORIZON_NAMES),
            "limits": list(LIMITS_S),
            "relative_from": RELATIVE_FROM_S,
        },
    )
    # What is not scored has no sums, nor have relative errors of short horizons.
    return [Bin(*row[:6], *(total or 0.0 for total in row[6:])) for row in await found.fetchall()]


async def forget_moved_stops(conn: Connection, number: int, plan: Plan) -> None:
    """Remove a shipment's forecasts of stops that its next plan puts elsewhere."""
    await conn.execute(
        "DELETE FROM eta_forecast f USING shipment s, (SELECT %(plan)s::jsonb AS plan) next "
        "WHERE s.number = %(number)s AND f.shipment_number = s.number AND ROW("
        "s.plan #> ARRAY['stops', f.stop::text, 'place'], "
        "s.plan #> ARRAY['stops', f.stop::text, 'fence']) IS DISTINCT FROM ROW("
        "next.plan #> ARRAY['stops', f.stop::text, 'place'], "
        "next.plan #> ARRAY['stops', f.stop::text, 'fence'])",
        {"number": number, "plan": msgspec.json.encode(plan).decode()},
    )
