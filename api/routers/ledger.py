"""The ledger."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import LedgerPage, page
from api.conventions.cursors import name_cursor, read_name_cursor
from api.document.route import documented
from api.examples import fleet as examples
from api.identity.auth import Caller
from api.schemas.parameters import LedgerQuery
from api.services import services_of
from tracking.store.ledger import ledger_totals, list_ledger

router = APIRouter(prefix="/v1/ledger", tags=["ledger"])


@router.get("", **documented("listLedger", LedgerPage, example=examples.LEDGER_PAGE))
async def ledger(
    request: Request, caller: Caller, query: Annotated[LedgerQuery, Query()]
) -> Response:
    """What became of everything each device sent, by device name, and the totals of all."""
    pool = services_of(request).pool
    after = read_name_cursor(query.cursor)
    found = await pool.run(
        list_ledger, caller.tenant_id, device=query.device, after=after, limit=query.limit + 1
    )
    totals = await pool.run(ledger_totals, caller.tenant_id)
    items = found[: query.limit]
    more = name_cursor(items[-1].device) if len(found) > len(items) else None
    return page(items, more, totals=totals)
