"""What brokers ask: may this device connect, publish, subscribe? The decisions are pure
(`tracking.broker_access`); here is who is meant, remembered for seconds.

A broker asks about every message, so nothing but the first question in a while costs a query.
"""  # noqa: D205 -- one thought

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from api.identity.credentials import Remembered
from tracking.access import Principal
from tracking.broker_access import Access, Foreign, may, may_connect
from tracking.device_secrets import NO_LINE, is_password
from tracking.store.acting import SYSTEM, acting
from tracking.store.device_credentials import BrokerUser, Kind, broker_user
from tracking.store.pool import ReadPool

Verdict = Literal["allow", "deny", "ignore"]
Lookup = Callable[[Kind, str], Awaitable[BrokerUser | None]]

# What EMQX sends for a placeholder it has no value for.
_ABSENT = {"", "undefined"}


class Client(msgspec.Struct, frozen=True):
    """Who is at the broker's door. A certificate's name counts before a user name.

    The broker has verified the certificate; the password is for us to verify.
    """

    username: str = ""
    password: str = ""
    clientid: str = ""
    cert_common_name: str = ""


async def look_up(pool: ReadPool, kind: Kind, username: str) -> BrokerUser | None:
    """The active credential of a name, of whichever tenant: it is told only who asks for whom."""
    with acting(SYSTEM):
        return await pool.run(broker_user, kind, username)


class BrokerDoor:
    """Answers brokers. Tasks share one instance.

    Args:
        lookup: the active credential of a name, of any tenant.
        operator: the tenant whose keys, with the scope `broker:read`, ask about every tenant's.
    """

    def __init__(self, lookup: Lookup, foreign: Foreign, operator: str) -> None:
        self._lookup = lookup
        self._foreign = foreign
        self._operator = operator
        self._users: Remembered[tuple[Kind, str], BrokerUser | None] = Remembered()

    async def admits(self, caller: Principal, client: Client) -> Verdict:
        """Whether a client may connect; `ignore` where its name is none of a device."""
        kind, name = _name(client)
        user = await self._user(caller, kind, name)
        # Also for an unknown user: how long it takes must not tell who is known.
        line = NO_LINE if user is None or user.secret_hash is None else user.secret_hash
        proved = is_password(client.password, line) or kind == "certificate"
        if user is None:
            return "deny" if "/" in name else "ignore"
        return "allow" if proved and may_connect(user.identity, client.clientid) else "deny"

    async def lets(self, caller: Principal, client: Client, access: Access, topic: str) -> Verdict:
        """Whether a client that was admitted may do this with a topic."""
        kind, name = _name(client)
        user = await self._user(caller, kind, name)
        if user is None:
            # Revoked while it was connected, or none of ours.
            return "deny" if "/" in name else "ignore"
        return "allow" if may(user.identity, access, topic, self._foreign) else "deny"

    async def _user(self, caller: Principal, kind: Kind, name: str) -> BrokerUser | None:
        user = await self._users.get((kind, name), lambda: self._lookup(kind, name))
        if user is None or user.tenant_id == caller.tenant_id or self._is_operator(caller):
            return user
        return None

    def _is_operator(self, caller: Principal) -> bool:
        return (
            caller.tenant == self._operator
            and caller.scopes is not None
            and "broker:read" in caller.scopes
        )


def _name(client: Client) -> tuple[Kind, str]:
    if client.cert_common_name not in _ABSENT:
        return "certificate", client.cert_common_name
    return "password", "" if client.username in _ABSENT else client.username
