"""The audit log: who did what."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.conventions.answers import Page, paged
from api.conventions.cursors import read_time_cursor, time_cursor
from api.document.route import documented
from api.examples.fleet import AUDIT_LINE, page_of
from api.identity.auth import Admin
from api.schemas.parameters import AuditQuery, check_range
from api.services import services_of
from tracking.store.audit import AuditFilter, AuditKey, AuditLine, list_audit

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get("", **documented("listAudit", Page[AuditLine], example=page_of(AUDIT_LINE)))
async def list_all(
    request: Request, caller: Admin, query: Annotated[AuditQuery, Query()]
) -> Response:
    """What people and services did in this tenant, the newest first. Nothing removes a line."""
    check_range(query.start, query.end)
    found = await services_of(request).pool.run(
        list_audit,
        caller.tenant_id,
        AuditFilter(query.actor, query.noun, query.key, query.action, query.start, query.end),
        before=read_time_cursor(query.cursor, AuditKey),
        limit=query.limit + 1,
    )
    return paged(found, query.limit, lambda last: time_cursor(AuditKey(last.at, last.id)))
