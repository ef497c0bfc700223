"""Who may do what: roles, scopes, and the principal every request is made as. Pure.

A permission is `<noun>:read`, `<noun>:write` or `<noun>:admin`, where the noun is the first tag of
the route. A role grants permissions; the scopes of a credential narrow them, never widen.
"""

from collections.abc import Collection
from typing import Literal, NamedTuple, get_args
from uuid import UUID

from tracking.errors import InputError

Role = Literal["admin", "dispatcher", "viewer", "service"]
Action = Literal["read", "write", "admin"]

ROLES: tuple[Role, ...] = get_args(Role)
ACTIONS: tuple[Action, ...] = get_args(Action)
_GRANTS: dict[str, frozenset[str]] = {
    "admin": frozenset({"read", "write", "admin"}),
    "dispatcher": frozenset({"read", "write"}),
    "service": frozenset({"read", "write"}),
    "viewer": frozenset({"read"}),
}
# What a party may read, each limited to its own shipments; and, of itself, who it is.
PARTY_NOUNS = frozenset({"shipments", "orders", "auth"})


class Principal(NamedTuple):
    """Who a request is made as: everything it reads and writes is limited to `tenant_id`.

    `name` tells where the credential is used, and stands in the audit log. `scopes` are
    permissions (`fences:write`, `*:read`); None: all that the role grants. `party` is the shipper,
    carrier or consignee whose shipments are all it may read; None: it is the tenant's own.
    """

    tenant_id: int
    tenant: str
    role: str
    key_id: int | None
    name: str = ""
    user_id: int | None = None
    scopes: frozenset[str] | None = None
    session_id: UUID | None = None
    party: str | None = None

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
        # The one place that limits a party to its nouns; queries limit those to its shipments.
        if self.party is not None and (action != "read" or noun not in PARTY_NOUNS):
            return False
        return self.scopes is None or bool(
            self.scopes & {f"{noun}:{action}", f"*:{action}", f"{noun}:*", "*:*"}
        )

    def may_grant(self, role: str, scopes: Collection[str] | None = None) -> bool:
        """Whether this may make a credential of that role and scopes: never one that may more."""
        if not _GRANTS[role] <= _GRANTS.get(self.role, frozenset()):
            return False
        if self.scopes is None:
            return True
        return scopes is not None and all(
            any(_covers(held, wanted) for held in self.scopes) for wanted in scopes
        )


def checked_scopes(scopes: Collection[str], nouns: Collection[str]) -> list[str]:
    """Scopes in one order, each once; `*` stands for every noun or action.

    Raises:
        InputError: a noun or action there is not, or no scope at all.
    """
    if not scopes:
        raise InputError("scopes: without any the credential could do nothing", field="scopes")
    for i, scope in enumerate(scopes):
        noun, _, action = scope.partition(":")
        if noun not in {*nouns, "*"} or action not in {*ACTIONS, "*"}:
            raise InputError(
                f"scopes[{i}]: {scope!r} is no permission like fences:write; nouns are "
                f"{', '.join(sorted(nouns))} or *, actions {', '.join(ACTIONS)} or *",
                field=f"scopes[{i}]",
            )
    return sorted(set(scopes))


def _covers(held: str, wanted: str) -> bool:
    return all(
        have in {"*", want} for have, want in zip(held.split(":"), wanted.split(":"), strict=True)
    )


def roles_that_may(action: Action) -> list[str]:
    """The roles that grant an action."""
    return [role for role in ROLES if action in _GRANTS[role]]
