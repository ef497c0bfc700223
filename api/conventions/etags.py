"""Versions as HTTP writes them: the ETag of what is told, and what If-Match asks for."""

import re
from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from api.conventions.problems import Problem

# A version, and behind a dot what `api.conventions.middleware` adds of what moves without one.
_TAG = re.compile(r'(?:W/)?"(\d{1,9})(?:\.[0-9a-f]+)?"')


def tagged(response: Response, version: int, *, live: bool = False) -> Response:
    """The response with the version it tells; `live` when it tells more, such as a place."""
    response.headers["ETag"] = f'W/"{version}"' if live else f'"{version}"'
    return response


def wanted_versions(request: Request) -> tuple[int, ...] | None:
    """The versions `If-Match` names; None: any will do."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    return tuple(int(version) for version in _TAG.findall(given))


def changed_meanwhile(what: str, version: int) -> Problem:
    """The answer where a precondition names another version than there is."""
    return Problem(
        412, f"{what} has version {version}, not what this asks for: read it again",
        field="If-Match",
    )  # fmt: skip


async def replaced_versions(
    request: Request, now: Callable[[], Awaitable[int]]
) -> tuple[int, ...] | None:
    """As `wanted_versions`, for a PUT, which also makes what is not there: 0 stands for that.

    `now` tells the version there is, 0 for none; it is asked only for `If-Match: *`.
    """
    if request.headers.get("if-none-match", "").strip() == "*":
        return (0,)
    if request.headers.get("if-match", "").strip() == "*":
        version = await now()
        return (version,) if version else ()
    return wanted_versions(request)
