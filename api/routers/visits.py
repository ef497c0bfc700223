"""Visits, as a list, as a table and in sums; and who was in an area drawn afterwards."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.conventions.answers import Page, answer, paged
from api.conventions.cursors import read_time_cursor, time_cursor
from api.conventions.problems import Problem
from api.document.route import CSV, Content, documented
from api.examples import fences as examples
from api.examples.fleet import page_of
from api.identity.auth import Caller
from api.schemas.parameters import check_range
from api.schemas.visits import VisitQuery, VisitSummaryPage
from api.services import services_of
from tracking.access import Principal
from tracking.store.pool import ReadPool
from tracking.store.visits import Scope, Visit, VisitFilter, VisitKey, list_visits
from tracking.visit_summary import VisitSummary

router = APIRouter(tags=["visits"])

_COLUMNS = Visit.__struct_fields__
# Of a report, some 2 MB at a time.
_STEP = 2_000
# Some 8,000 a second.
_MAX_COUNTED = 200_000


@router.get(
    "/v1/visits",
    **documented(
        "listVisits",
        (Page[Visit], VisitSummaryPage),
        example=page_of(examples.VISIT),
        also=[Content(None, examples.VISITS_CSV, CSV)],
    ),
)
async def visits(
    request: Request, caller: Caller, query: Annotated[VisitQuery, Query()]
) -> Response:
    """Stays of devices in fences, in the order of entering; with `group_by` what they come to.

    A visit belongs to the time asked for when any moment of it does.
    """
    check_range(query.start, query.end)
    wanted = VisitFilter(query.fence, query.device, query.layer, query.start, query.end, query.open)
    pool = services_of(request).pool
    report = _steps(pool, caller, wanted)
    if query.group_by is not None:
        return await _summary(report, VisitSummary(query.group_by, query.zone()))
    if _format(request, query) == "csv":
        # The first step is asked for before the answer begins, so that it can still be a problem.
        first: list[Visit] = await anext(report, [])
        return StreamingResponse(
            _table(first, report),
            media_type=f"{CSV}; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="visits.csv"'},
        )
    found = await pool.run(
        list_visits,
        Scope(caller.tenant_id, caller.tenant),
        wanted,
        after=read_time_cursor(query.cursor, VisitKey),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: time_cursor(last.key))


def _format(request: Request, query: VisitQuery) -> Literal["json", "csv"]:
    if query.format is not None:
        return query.format
    return "csv" if CSV in request.headers.get("accept", "") else "json"


async def _steps(
    pool: ReadPool, caller: Principal, wanted: VisitFilter
) -> AsyncIterator[list[Visit]]:
    """All visits, some at a time; none without."""
    after = None
    while True:
        found = await pool.run(
            list_visits, Scope(caller.tenant_id, caller.tenant), wanted, after=after, limit=_STEP
        )
        if found:
            yield found
        if len(found) < _STEP:
            return
        after = found[-1].key


async def _summary(report: AsyncIterator[list[Visit]], summary: VisitSummary) -> Response:
    async for step in report:
        for visit in step:
            summary.add(visit)
        if len(summary) > _MAX_COUNTED:
            raise Problem(
                422,
                f"from: these are more than {_MAX_COUNTED:,} visits: ask for less",
                field="from",
            )
    return answer(VisitSummaryPage(summary.groups(), None, summary.total()))


async def _table(first: list[Visit], report: AsyncIterator[list[Visit]]) -> AsyncIterator[bytes]:
    yield _rows([_COLUMNS])
    yield _rows(map(_row, first))
    async for step in report:
        yield _rows(map(_row, step))


def _rows(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _row(visit: Visit) -> list[object]:
    # As the JSON has it: times in ISO-8601, true and false in lower case, nothing for null.
    values = msgspec.to_builtins(visit)
    return [
        ("true" if value else "false") if isinstance(value, bool) else value
        for value in (values[name] for name in _COLUMNS)
    ]
