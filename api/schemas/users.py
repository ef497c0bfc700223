"""What the api takes and tells about users, signing in, and sessions."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from pydantic import Field

from api.schemas.parameters import Paged, Text
from tracking.access import Role
from tracking.fence_input import Name
from tracking.passwords import MAX_LENGTH, MIN_LENGTH
from tracking.store.sessions import SessionInfo
from tracking.store.users import User
from tracking.times import Moment
from tracking.users import MAX_EMAIL, MAX_NAME

TenantName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Email = Annotated[str, Meta(min_length=3, max_length=MAX_EMAIL, pattern=r"^[^\x00-\x1f]+$")]
UserName = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00-\x1f]+$")]
# Whatever was a good password once can be shown; what is new is judged by `check_password`.
Password = Annotated[str, Meta(min_length=1, max_length=4 * MAX_LENGTH)]
NewPassword = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4 * MAX_LENGTH,
        description=f"{MIN_LENGTH} to {MAX_LENGTH} characters of any kind, and none that is "
        "guessed first",
    ),
]
Code = Annotated[
    str, Meta(max_length=64, description="Of the authenticator app, or a recovery code")
]
OpaqueToken = Annotated[str, Meta(min_length=1, max_length=256)]


class UserQuery(Paged):
    """Which users."""

    email: Text | None = Field(None, description="Part of the address")
    role: Role | None = None
    disabled: bool | None = None


class UserInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody to invite.

    With a `party`, which takes role viewer, they see the shipments of that shipper, carrier or
    consignee, and nothing else.
    """

    email: Email
    role: Role
    name: UserName | None = None
    party: Name | None = None


class UserChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a user; what is left out stays."""

    email: Email | None = None
    name: UserName | None = None
    role: Role | None = None
    disabled: bool | None = None


class Invited(User, frozen=True):
    """A user, and the token that sets their password once: it is told this once."""

    invite: str
    invite_expires_at: Moment


class SignInInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs in, and what proves it."""

    email: Email
    password: Password
    tenant: TenantName = "default"
    code: Code | None = None


class RefreshInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh token of the last answer."""

    refresh_token: OpaqueToken


class RevokeInput(RefreshInput, frozen=True, forbid_unknown_fields=True):
    """Which session to end, by its refresh token; or all of its owner."""

    all: bool = False


class TokenAnswer(msgspec.Struct, frozen=True):
    """What a session is used with: the access token for `expires_in` seconds, then a refresh."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_at: Moment
    session_id: UUID
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 -- the name of a scheme


class InviteInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one-time token, and the password to be."""

    invite: OpaqueToken
    password: NewPassword


class AcceptedAnswer(msgspec.Struct, frozen=True):
    """Who can sign in now."""

    tenant: str
    email: str


class PasswordInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password so far, and the one to be."""

    password: Password
    new_password: NewPassword


class OwnerInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That it is still the owner who asks; the code where there is a second factor already."""

    password: Password
    code: Code | None = None


class CodeInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first code of the new second factor."""

    code: Code


class EnrolAnswer(msgspec.Struct, frozen=True):
    """The secret for an authenticator app, also as what a QR code says."""

    secret: str
    uri: str


class RecoveryAnswer(msgspec.Struct, frozen=True):
    """Codes that work once each if the app is lost: they are told this once."""

    recovery_codes: list[str]


class SessionAnswer(SessionInfo, frozen=True):
    """A session; `current` is the one that asks."""

    current: bool


class SessionList(msgspec.Struct, frozen=True):
    """The sessions that are open."""

    items: list[SessionAnswer]


class MeAnswer(msgspec.Struct, frozen=True):
    """Who asks. `scopes`: null where the role alone decides."""

    kind: Literal["user", "key", "oidc"]
    tenant: str
    role: str
    name: str
    scopes: list[str] | None
    party: str | None
    session_id: UUID | None
    user: User | None


class Jwk(msgspec.Struct, frozen=True):
    """A public key."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str
    alg: str


class JwkSet(msgspec.Struct, frozen=True):
    """The public keys of access tokens, RFC 7517."""

    keys: list[Jwk]
