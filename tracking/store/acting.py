"""On whose behalf the database is used: what its row-level security shows, and whom it audits.

The second lock. Every query of the api names its tenant; should one forget, the database shows it
nothing, as each connection tells for whom it acts. Until something else is said that is nobody.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Self

from tracking.access import Principal
from tracking.store.connection import Connection

logger = logging.getLogger(__name__)

# What `acting_tenant()` of migration 0007 reads: no tenant has this id.
_NO_TENANT = "0"

_SETTLE = (
    "SELECT set_config('waymark.tenant_id', %s, false), set_config('waymark.actor', %s, false), "
    "set_config('waymark.request_id', %s, false), set_config('waymark.ip', %s, false)"
)

# Taken on only where this database was migrated so far: the role belongs to the whole cluster.
_LOCK_DOWN = """
SELECT set_config('search_path', 'waymark_api, ' || current_setting('search_path'), false),
    (SELECT set_config('role', rolname, false) FROM pg_roles
     WHERE rolname = 'waymark_api' AND pg_has_role(oid, 'MEMBER')
        AND has_table_privilege(oid, to_regclass('audit_log'), 'SELECT'))
"""


class Mandate(NamedTuple):
    """For whom the database is used. `settings` are those of a connection.

    Without `changes` the actor is not told to the database, so that connections need not change
    hands between the many who read: nothing is audited then.
    """

    principal: Principal | None
    request_id: str
    ip: str
    settings: tuple[str, str, str, str]

    @classmethod
    def of(
        cls, principal: Principal, *, request_id: str = "", ip: str = "", changes: bool = True
    ) -> Self:
        """To do what a principal asks for."""
        told = (principal.actor, request_id, ip) if changes else ("", "", "")
        return cls(principal, request_id, ip, (str(principal.tenant_id), *told))

    @classmethod
    def reader(cls, tenant_id: int) -> Self:
        """To read for one tenant, whoever profits."""
        return cls(None, "", "", (str(tenant_id), "", "", ""))


NOBODY = Mandate(None, "", "", (_NO_TENANT, "", "", ""))
# Sees every tenant. In the api only to find out who somebody is, and whether all is well.
SYSTEM = Mandate(None, "", "", ("", "", "", ""))

_current: ContextVar[Mandate] = ContextVar("mandate", default=NOBODY)


def current_mandate() -> Mandate:
    """Whose behalf this task acts on."""
    return _current.get()


def act(mandate: Mandate) -> None:
    """Act on it from here to the end of the task, and in the tasks it starts."""
    _current.set(mandate)


@contextmanager
def acting(mandate: Mandate) -> Iterator[None]:
    """Act on it for the time of the context."""
    token = _current.set(mandate)
    try:
        yield
    finally:
        _current.reset(token)


async def lock_down(conn: Connection) -> None:
    """Give up whatever rights pass row-level security by, for good."""
    await conn.execute(_LOCK_DOWN)
    found = await conn.execute(
        "SELECT current_user FROM pg_roles "
        "WHERE rolname = current_user AND (rolsuper OR rolbypassrls)"
    )
    row = await found.fetchone()
    if row is not None:
        logger.warning(
            "%s passes row-level security by, so the second lock is open: have it run "
            "`waymark migrate`, or use a database user that is no superuser",
            row[0],
        )


async def settle(conn: Connection, mandate: Mandate) -> None:
    """Have the database know whom the connection acts for, until it is told otherwise."""
    await conn.execute(_SETTLE, mandate.settings)
