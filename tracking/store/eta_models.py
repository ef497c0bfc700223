"""Versions of what was learned of arrivals: a tenant's engines, one used, the last few kept."""

import logging

from tracking.errors import ModelUnreadable
from tracking.eta.engine import Engine
from tracking.eta.packed import FORMAT
from tracking.store.connection import Connection

logger = logging.getLogger(__name__)

# Used is the pinned one, else the highest this program can read.
_LATEST = """
SELECT version FROM eta_model WHERE tenant_id = %s AND format <= %s
ORDER BY pinned DESC, version DESC LIMIT 1
"""


async def latest_engine(conn: Connection, tenant_id: int, known: int) -> tuple[int, Engine] | None:
    """The version to forecast with, and its engine; None: `known` is it.

    While nothing was learned that is version 0, which has learned nothing. A version that cannot
    be read is told in the log, and what is known goes on.
    """
    found = await conn.execute(_LATEST, (tenant_id, FORMAT))
    row = await found.fetchone()
    version = 0 if row is None else int(row[0])
    if version == known:
        return None
    if version == 0:
        return 0, Engine()
    found = await conn.execute(
        "SELECT engine FROM eta_model WHERE tenant_id = %s AND version = %s", (tenant_id, version)
    )
    row = await found.fetchone()
    if row is None:  # removed meanwhile: the next look finds another
        return None
    try:
        return version, Engine.load(row[0])
    except ModelUnreadable as exc:
        logger.error("version %d of tenant %d: %s", version, tenant_id, exc)  # noqa: TRY400
        return None
