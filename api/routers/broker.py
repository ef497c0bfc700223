"""For MQTT brokers that ask over HTTP: EMQX, and Mosquitto with mosquitto-go-auth."""

from typing import Annotated, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Query, Request, Response
from msgspec import Meta

from api.broker_door import Client, Verdict
from api.conventions.answers import answer
from api.conventions.problems import Problem
from api.document.route import Content, documented
from api.identity.auth import Caller
from api.schemas.fences import decoded
from api.schemas.parameters import NoQuery
from api.services import services_of
from tracking.broker_access import Access
from tracking.fence_input import explained

router = APIRouter(prefix="/v1/broker", tags=["broker"])

T = TypeVar("T", bound=Client)

_FORM = "application/x-www-form-urlencoded"
# mosquitto-go-auth's `acc`, as Mosquitto's plugin interface has it.
_ACC: dict[int, tuple[Access, ...]] = {
    1: ("receive",),
    2: ("publish",),
    3: ("receive", "publish"),
    4: ("subscribe",),
}


class EmqxQuestion(Client, frozen=True, kw_only=True):
    """A client that does something with a topic."""

    topic: str
    action: Literal["publish", "subscribe"]


class EmqxVerdict(msgspec.Struct, frozen=True):
    """What EMQX reads; `ignore` leaves it to the next in its chain."""

    result: Verdict
    is_superuser: bool = False


class GoAuthQuestion(Client, frozen=True, kw_only=True):
    """A client that does something with a topic; `acc` is 1 read, 2 write, 3 both, 4 subscribe."""

    topic: str
    acc: Annotated[int, Meta(ge=1, le=4)]


class GoAuthVerdict(msgspec.Struct, frozen=True):
    """What is told with 200; 403 says no."""

    Ok: bool = True
    Error: str = ""


_DENIED = {403: Content(GoAuthVerdict, GoAuthVerdict(Ok=False, Error="denied"))}


@router.post(
    "/emqx/auth",
    **documented(
        "emqxAuthenticate",
        EmqxVerdict,
        example=EmqxVerdict("allow"),
        body=Client,
        body_example=Client("acme/van-7", "kq8nYj0cV2m5d1Xb4h7w", "acme/van-7"),
    ),
)
async def emqx_auth(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
    """Whether a client may connect, as EMQX's HTTP authentication asks."""
    client = decoded(await request.body(), Client)
    return answer(EmqxVerdict(await services_of(request).door.admits(caller, client)))


@router.post(
    "/emqx/acl",
    **documented(
        "emqxAuthorize",
        EmqxVerdict,
        example=EmqxVerdict("deny"),
        body=EmqxQuestion,
        body_example=EmqxQuestion(
            "acme/van-7", clientid="acme/van-7", topic="wm/acme/van-8/pos", action="publish"
        ),
    ),
)
async def emqx_acl(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
    """Whether a client may publish or subscribe, as EMQX's HTTP authorization asks."""
    asked = decoded(await request.body(), EmqxQuestion)
    return answer(
        EmqxVerdict(await services_of(request).door.lets(caller, asked, asked.action, asked.topic))
    )


@router.post(
    "/mosquitto/user",
    **documented(
        "goAuthUser",
        GoAuthVerdict,
        example=GoAuthVerdict(),
        otherwise=_DENIED,
        body=Client,
        body_example=Client("acme/van-7", "kq8nYj0cV2m5d1Xb4h7w", "acme/van-7"),
        body_also=[Content(None, "username=acme%2Fvan-7&password=kq8nYj0cV2m5d1Xb4h7w", _FORM)],
    ),
)
async def go_auth_user(
    request: Request, caller: Caller, _: Annotated[NoQuery, Query()]
) -> Response:
    """Whether a client may connect, as mosquitto-go-auth asks; 403 says no."""
    client = await _asked(request, Client)
    return _allowed(await services_of(request).door.admits(caller, client))


@router.post(
    "/mosquitto/superuser",
    **documented(
        "goAuthSuperuser",
        GoAuthVerdict,
        example=GoAuthVerdict(),
        otherwise=_DENIED,
        body=Client,
        body_example=Client("acme/van-7"),
        body_also=[Content(None, "username=acme%2Fvan-7", _FORM)],
    ),
)
async def go_auth_superuser(
    request: Request, caller: Caller, _: Annotated[NoQuery, Query()]
) -> Response:
    """403: no device may do everything."""
    del caller
    await _asked(request, Client)
    return _allowed("deny")


@router.post(
    "/mosquitto/acl",
    **documented(
        "goAuthAcl",
        GoAuthVerdict,
        example=GoAuthVerdict(),
        otherwise=_DENIED,
        body=GoAuthQuestion,
        body_example=GoAuthQuestion("acme/van-7", topic="wm/acme/van-7/pos", acc=2),
        body_also=[
            Content(None, "username=acme%2Fvan-7&topic=wm%2Facme%2Fvan-7%2Fpos&acc=2", _FORM)
        ],
    ),
)
async def go_auth_acl(request: Request, caller: Caller, _: Annotated[NoQuery, Query()]) -> Response:
    """Whether a client may use a topic, as mosquitto-go-auth asks; 403 says no."""
    asked = await _asked(request, GoAuthQuestion)
    door = services_of(request).door
    verdicts = [await door.lets(caller, asked, access, asked.topic) for access in _ACC[asked.acc]]
    return _allowed("allow" if set(verdicts) == {"allow"} else "deny")


async def _asked(request: Request, kind: type[T]) -> T:
    """The body, as JSON or as a form.

    Raises:
        Problem: 422, naming the member at fault.
    """
    raw = await request.body()
    if not request.headers.get("content-type", "").startswith(_FORM):
        return decoded(raw, kind)
    try:
        fields = dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=20))
        return msgspec.convert(fields, kind, strict=False)
    except (ValueError, msgspec.ValidationError) as exc:
        fault = explained(exc)
        raise Problem(422, str(fault), field=fault.field) from None


def _allowed(verdict: Verdict) -> Response:
    """200, all the plugin looks at.

    Raises:
        Problem: 403, anything but `allow`.
    """
    if verdict != "allow":
        raise Problem(403, "no device of this name may do that")
    return answer(GoAuthVerdict())
