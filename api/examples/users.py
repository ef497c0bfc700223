"""What requests and answers about users and signing in look like, for the OpenAPI document."""

# ruff: noqa: S106 -- nobody's passwords and tokens

from datetime import UTC, datetime
from uuid import UUID

from api.examples.fleet import page_of
from api.schemas.users import (
    AcceptedAnswer,
    CodeInput,
    EnrolAnswer,
    Invited,
    InviteInput,
    Jwk,
    JwkSet,
    MeAnswer,
    OwnerInput,
    PasswordInput,
    RecoveryAnswer,
    RefreshInput,
    RevokeInput,
    SessionAnswer,
    SessionList,
    SignInInput,
    TokenAnswer,
    UserChange,
    UserInput,
)
from tracking.store.users import User

_MORNING = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)
_WEEK_ON = _MORNING.replace(day=15)
_SESSION = UUID("6f1c2a5e-2f0b-4c1e-9d5a-0d6b8f1f2a77")

USER = User(
    id=7,
    email="ann@acme.example",
    name="Ann Larsen",
    role="dispatcher",
    disabled=False,
    invited=False,
    second_factor=True,
    version=2,
    created_at=_MORNING,
    signed_in_at=_MORNING,
    party=None,
)
USERS = page_of(USER)
USER_INPUT = UserInput(email="ann@acme.example", role="dispatcher", name="Ann Larsen")
USER_CHANGE = UserChange(role="viewer")
INVITED = Invited(
    id=7,
    email="ann@acme.example",
    name="Ann Larsen",
    role="dispatcher",
    disabled=False,
    invited=True,
    second_factor=False,
    version=1,
    created_at=_MORNING,
    signed_in_at=None,
    party=None,
    invite="wmi_Jb2L0mQe7n5gXw1Zp3Rr8sT6vY4uK9cD0aEfGhIjKlM",
    invite_expires_at=_WEEK_ON,
)
SIGN_IN = SignInInput(
    email="ann@acme.example", password="five quiet herons fly", tenant="acme", code="492039"
)
TOKENS = TokenAnswer(
    access_token="eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl",
    expires_in=900,
    refresh_token="wmr_w1Zp3Rr8sT6vY4uK9cD0aEfGhIjKlMJb2L0mQe7n5gX",
    refresh_expires_at=_WEEK_ON,
    session_id=_SESSION,
)
REFRESH = RefreshInput(TOKENS.refresh_token)
REVOKE = RevokeInput(TOKENS.refresh_token, all=True)
INVITE = InviteInput(INVITED.invite, "five quiet herons fly")
ACCEPTED = AcceptedAnswer("acme", "ann@acme.example")
PASSWORD = PasswordInput("five quiet herons fly", "nine loud geese walk")
PROOF = OwnerInput("five quiet herons fly")
CODE = CodeInput("492039")
ENROL = EnrolAnswer(
    "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "otpauth://totp/Waymark%20%28acme%29:ann%40acme.example"
    "?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Waymark%20%28acme%29",
)
RECOVERY = RecoveryAnswer(["7kqm-x2fd-98ra-tw5c", "p3nv-h6zs-4bye-2gjd"])
SESSIONS = SessionList(
    [
        SessionAnswer(
            id=_SESSION,
            started_at=_MORNING,
            refreshed_at=_MORNING,
            ends_at=_MORNING.replace(month=4, day=7),
            address="192.0.2.7",
            user_agent="Mozilla/5.0",
            current=True,
        )
    ]
)
ME = MeAnswer("user", "acme", "dispatcher", "ann@acme.example", None, None, _SESSION, USER)
JWKS = JwkSet(
    [
        Jwk(
            kty="OKP",
            crv="Ed25519",
            x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            kid="pGz1f3Y0s2Q9aWxL",
            use="sig",
            alg="EdDSA",
        )
    ]
)
