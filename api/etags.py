"""Versions as HTTP writes them: the ETag of what is told, and what If-Match asks for."""

import re

from fastapi import Request, Response

from api.problems import Problem

_TAG = re.compile(r'(?:W/)?"(\d{1,9})"')


def tagged(response: Response, version: int) -> Response:
    """The response with the version it tells."""
    response.headers["ETag"] = f'"{version}"'
    return response


def wanted_versions(request: Request) -> tuple[int, ...] | None:
    """The versions `If-Match` names; None: any will do."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    return tuple(int(version) for version in _TAG.findall(given))


def changed_meanwhile(what: str, version: int) -> Problem:
    """The answer where `If-Match` names another version than there is."""
    return Problem(
        412, f"{what} has version {version}, not what If-Match names: read it again",
        field="If-Match",
    )  # fmt: skip
