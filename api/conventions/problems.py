"""Every refusal of the api, as RFC 9457 problem+json. One shape, whoever refused."""

import logging
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from tracking.access import Action, Principal, roles_that_may
from tracking.errors import Conflict, InputError, ProviderUnavailable, StoreUnavailable

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_URN = "urn:waymark:problem:"
# Short enough that clients are back soon after the database is, long enough not to hammer it.
_RETRY_AFTER_S = "2"

KINDS = {
    400: "bad-cursor",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    409: "conflict",
    412: "changed-meanwhile",
    413: "too-large",
    414: "url-too-long",
    422: "invalid-parameter",
    429: "busy",
    431: "headers-too-large",
    500: "internal",
    503: "unavailable",
}


class Problem(Exception):  # noqa: N818 -- RFC 9457's own word
    """A refusal with its status; `field` names the parameter at fault, if one is.

    `errors` lists every fault, where there may be several.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, object]] = (),
    ) -> None:
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        self.errors = list(errors)
        super().__init__(detail)


def bad_cursor() -> Problem:
    """The one answer to every cursor that this api did not give out."""
    return Problem(
        400, "this cursor was not given out here: start again without it", field="cursor"
    )


def unauthorized(detail: str) -> Problem:
    """The answer to a request without a valid key."""
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


def forbidden(principal: Principal, noun: str, action: Action) -> Problem:
    """The answer to who is known but asks for more than role and scopes grant."""
    if principal.party is not None:
        return Problem(403, f"{principal.party} may read its own shipments, and nothing else")
    able = roles_that_may(action)
    if principal.role not in able:
        return Problem(403, f"role {principal.role} may not do this: use one of {', '.join(able)}")
    return Problem(403, f"this credential lacks the scope {noun}:{action}")


def not_found(what: str) -> Problem:
    """The answer for what is not there, or belongs to another tenant: nobody can tell which."""
    return Problem(404, f"there is no {what}")


class ProblemDetails(msgspec.Struct, frozen=True):
    """A refusal. `field` names the parameter or member at fault; `errors` lists several faults."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None
    request_id: str
    errors: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


def details(
    status: int,
    detail: str,
    request_id: str,
    *,
    field: str | None = None,
    errors: Sequence[Mapping[str, object]] = (),
) -> ProblemDetails:
    """The document of a refusal."""
    return ProblemDetails(
        type=_URN + KINDS.get(status, "http-error"),
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        field=field,
        request_id=request_id,
        errors=[dict(error) for error in errors] if errors else msgspec.UNSET,
    )


def problem_body(problem: Problem, request_id: str) -> bytes:
    """The document of a problem, as JSON."""
    return msgspec.json.encode(
        details(
            problem.status,
            problem.detail,
            request_id,
            field=problem.field,
            errors=problem.errors,
        )
    )


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(InputError, _on_input)
    app.add_exception_handler(Conflict, _on_conflict)
    app.add_exception_handler(StoreUnavailable, _on_unavailable)
    app.add_exception_handler(ProviderUnavailable, _on_unavailable)


def _answer(request: Request, problem: Problem) -> Response:
    body = problem_body(problem, getattr(request.state, "request_id", ""))
    return Response(body, problem.status, problem.headers, MEDIA_TYPE)


async def _on_problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)  # noqa: S101 -- registered for it alone, as below
    return _answer(request, exc)


async def _on_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101
    path = request.url.path
    methods = _methods_at(request, path) if exc.status_code in {404, 405} else set()
    if methods and request.method not in methods:
        allowed = {"Allow": ", ".join(sorted(methods))}
        return _answer(
            request, Problem(405, f"{request.method} is not possible at {path}", headers=allowed)
        )
    detail = f"there is nothing at {path}" if exc.status_code == 404 else str(exc.detail)
    return _answer(request, Problem(exc.status_code, detail, headers=exc.headers))


@lru_cache(maxsize=1_024)
def _regex(template: str) -> re.Pattern[str]:
    return compile_path(template)[0]


def _methods_at(request: Request, path: str) -> set[str]:
    """What is possible at a path, by all routes that serve it; nothing where there are none."""
    paths = request.app.openapi()["paths"]
    # What is spelled out comes before what has a name in it.
    if path in paths:
        return {method.upper() for method in paths[path]}
    served = [paths[template] for template in paths if _regex(template).match(path)]
    return {method.upper() for methods in served for method in methods}


async def _on_validation(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101
    errors = [_explain(error) for error in exc.errors()]
    first = errors[0]
    several = errors if len(errors) > 1 else ()
    return _answer(request, Problem(422, first["detail"], field=first["field"], errors=several))


def _explain(error: dict[str, Any]) -> dict[str, str]:
    # ("query", "limit"), or ("query", "type", 0) for the first of a list.
    field = str(error["loc"][1]) if len(error["loc"]) > 1 else str(error["loc"][0])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such parameter here"
    return {"field": field, "detail": f"{field}: {message}"}


async def _on_input(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, InputError)  # noqa: S101
    return _answer(request, Problem(422, str(exc), field=exc.field))


async def _on_conflict(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Conflict)  # noqa: S101
    return _answer(request, Problem(409, str(exc), field=exc.field))


async def _on_unavailable(request: Request, exc: Exception) -> Response:
    logger.warning("answered 503 to %s %s: %s", request.method, request.url.path, exc)
    problem = Problem(503, str(exc), headers={"Retry-After": _RETRY_AFTER_S})
    return _answer(request, problem)
