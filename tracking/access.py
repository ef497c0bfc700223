"""Who may do what: roles, scopes, and the principal every request is made as. Pure.

A permission is `<noun>:read`, `<noun>:write` or `<noun>:admin`, where the noun is the first tag of
the route. A role grants permissions; the scopes of a credential narrow them, never widen.
"""

from typing import Literal, NamedTuple, get_args
from uuid import UUID

Role = Literal["admin", "dispatcher", "viewer", "service"]
Action = Literal["read", "write", "admin"]

ROLES: tuple[Role, ...] = get_args(Role)
_GRANTS: dict[str, frozenset[str]] = {
    "admin": frozenset({"read", "write", "admin"}),
    "dispatcher": frozenset({"read", "write"}),
    "service": frozenset({"read", "write"}),
    "viewer": frozenset({"read"}),
}


class Principal(NamedTuple):
    """Who a request is made as: everything it reads and writes is limited to `tenant_id`.

    `name` tells where the credential is used, and stands in the audit log. `scopes` are
    permissions (`fences:write`, `*:read`); None: all that the role grants.
    """

    tenant_id: int
    tenant: str
    role: str
    key_id: int | None
    name: str = ""
    user_id: int | None = None
    scopes: frozenset[str] | None = None
    session_id: UUID | None = None

    @property
    def kind(self) -> Literal["user", "key", "oidc"]:
        """What kind of credential was shown."""
        if self.user_id is not None:
            return "user"
        return "oidc" if self.key_id is None else "key"

    @property
    def actor(self) -> str:
        """Who this is to the audit log: kind, id and name, which may hold colons."""
        return f"{self.kind}:{self.user_id or self.key_id or ''}:{self.name}"

    def may(self, noun: str, action: Action) -> bool:
        """Whether the role grants this and the scopes let it pass."""
        if action not in _GRANTS.get(self.role, ()):
            return False
        return self.scopes is None or bool(
            self.scopes & {f"{noun}:{action}", f"*:{action}", f"{noun}:*"}
        )

    def may_grant(self, role: str) -> bool:
        """Whether this may hand out a role: none that grants more than itself is granted."""
        return self.scopes is None and _GRANTS[role] <= _GRANTS.get(self.role, frozenset())


def roles_that_may(action: Action) -> list[str]:
    """The roles that grant an action."""
    return [role for role in ROLES if action in _GRANTS[role]]
