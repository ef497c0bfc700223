"""What the api says of itself: an OpenAPI document made of the types it decodes and encodes.

A route says what it is with `**documented(...)`; the rest, which is the same everywhere, is added
when the document is asked for: problems, headers, credentials, shared parameters.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI, Response

from api.answers import JSON
from api.problems import KINDS, MEDIA_TYPE, ProblemDetails, details

Json = dict[str, Any]

NDJSON = "application/x-ndjson"
CSV = "text/csv"

_SCHEMAS = "#/components/schemas/"
_GENERIC = re.compile(r"([A-Za-z]+)_(\w+)_")

# By the first tag of a route, which is also the noun of its permissions.
TAGS = {
    "alerts": "What rules raised, and what people did about it.",
    "api-keys": "Credentials of services; for admins.",
    "assets": "Whatever carries and is carried, and where each is and was.",
    "attachments": "What was on or in what, and when.",
    "audit": "Who did what, and what it was before.",
    "auth": "Signing in: tokens, sessions, passwords, the second factor.",
    "dead-letters": "Messages that could not be understood, byte for byte.",
    "devices": "Whatever sends positions, its state now, and where it has been.",
    "events": "What happened, as CloudEvents with gapless cursors; and why.",
    "fences": "Areas, their versions, and what they would have raised.",
    "health": "For orchestrators and scrapers; without a credential.",
    "ledger": "What became of everything each device sent.",
    "map": "What the live map must know before anybody signed in.",
    "positions": "Where everything is now.",
    "privacy": "What is forgotten on request, and how long a tenant keeps its data.",
    "rules": "Which events are worth an alert.",
    "users": "People who sign in, and what they may.",
    "visits": "Stays in fences, and in areas drawn afterwards.",
    "webhooks": "Who is told of events, at least once and in order; and what became of it.",
}

_HEADERS: dict[str, Json] = {
    "X-Request-Id": {
        "description": "The request's id: yours if you sent one; it stands in problems and logs",
        "schema": {"type": "string"},
        "example": "3f9c0d1b7a52e684",
    },
    "ETag": {
        "description": "The version told: send it back as If-Match, or as If-None-Match",
        "schema": {"type": "string"},
        "example": '"3"',
    },
    "Location": {
        "description": "Where what was made is",
        "schema": {"type": "string", "format": "uri-reference"},
        "example": "/v1/fences/depot-1",
    },
    "Retry-After": {
        "description": "Come back after so many seconds",
        "schema": {"type": "integer"},
        "example": 2,
    },
    "WWW-Authenticate": {
        "description": "How to show a credential",
        "schema": {"type": "string"},
        "example": "Bearer",
    },
}

# What each refusal brings along besides its document.
_PROBLEM_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
_PROBLEMS = {
    400: "The cursor was not given out here, or for another list",
    401: "No valid credential",
    403: "The credential does not permit this",
    404: "It is not there, or not yours",
    409: "It is there already, or its state does not allow this",
    412: "It is not the version that If-Match names",
    413: "The body is too large",
    422: "A parameter or member is wrong; `field` names it",
    429: "Too many at a time",
    500: "A defect; the log has the request id",
    503: "Something the api needs is away",
}


class Content(NamedTuple):
    """One way a body is written: what is encoded or decoded, and how it looks.

    `kind` is a type msgspec knows, a tuple for one of several, None for what is not JSON.
    """

    kind: Any
    example: object
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class _Operation:
    status: int
    answers: tuple[Content, ...]
    body: tuple[Content, ...]
    body_required: bool
    otherwise: Mapping[int, Content]
    problems: frozenset[int]
    headers: tuple[str, ...]

    def kinds(self) -> Iterator[Any]:
        """Every type it speaks of."""
        for content in (*self.answers, *self.body, *self.otherwise.values()):
            yield from _alternatives(content.kind)


# What the routes say of themselves, by operationId; filled while they are defined.
_operations: dict[str, _Operation] = {}


def documented(
    operation_id: str,
    answer: Any = None,  # noqa: ANN401 -- any type msgspec knows, as below
    *,
    example: object = None,
    status: int = 200,
    media_type: str = JSON,
    also: Collection[Content] = (),
    body: Any = None,  # noqa: ANN401
    body_example: object = None,
    body_also: Collection[Content] = (),
    body_required: bool = True,
    otherwise: Mapping[int, Content] = MappingProxyType({}),
    problems: Collection[int] = (),
    headers: Collection[str] = (),
) -> dict[str, Any]:
    """What the decorator of a route takes: `@router.get("", **documented("listDevices", ...))`.

    `operation_id` is the name generated clients give it, and never changes. `answer` is the type
    that is encoded, `Page[...]` for lists, None where there is no body; `body` the one that is
    decoded. `example` and `body_example` are values of these types, or as JSON would have them.
    `also` are further media types of the answer, `body_also` of the body. `otherwise` are other
    answers that are no problems, by status. `problems` are statuses beyond those every route has:
    401, 403 and 503 with a credential, 404 with a path parameter, 422 and 500.
    """
    answers = [] if answer is None else [Content(answer, example, media_type)]
    bodies = [] if body is None else [Content(body, body_example)]
    _operations[operation_id] = _Operation(
        status,
        (*answers, *also),
        (*bodies, *body_also),
        body_required,
        otherwise,
        frozenset(problems),
        tuple(headers),
    )
    return {
        "operation_id": operation_id,
        "status_code": status,
        # Every answer is written by `api.answers`; FastAPI has nothing to add to it.
        "response_class": Response,
    }


def answer_of(operation_id: str, media_type: str) -> tuple[Any, ...]:
    """The types an operation answers with in a media type."""
    told = _operations[operation_id]
    return tuple(
        kind
        for content in told.answers
        if content.media_type == media_type
        for kind in _alternatives(content.kind)
    )


class DescribedApi(FastAPI):
    """FastAPI, with a document of our own making."""

    def openapi(self) -> Json:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_tags = [{"name": name, "description": text} for name, text in TAGS.items()]
            self.openapi_schema = plain(_completed(super().openapi()))
        return self.openapi_schema


def _completed(document: Json) -> Json:
    """FastAPI's document, which knows paths and parameters, with all that it cannot know."""
    used = [operation for _, operation in operations_of(document)]
    told = [_operations.get(operation["operationId"]) for operation in used]
    schemas = _Schemas([kind for one in told if one for kind in one.kinds()])
    for operation, one in zip(used, told, strict=True):
        _plain_parameters(operation)
        if one is not None:
            _complete(operation, one, schemas)
        elif "422" in operation["responses"]:
            operation["responses"]["422"] = _reference(422)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})
    # FastAPI's own idea of a refusal, which nothing here answers with.
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["schemas"] |= schemas.components
    components["headers"] = _HEADERS
    components["responses"] = {_problem_name(status): _problem(status) for status in _PROBLEMS}
    components["parameters"] = _shared_parameters(used)
    document["servers"] = [{"url": "/", "description": "The server this document came from"}]
    return document


def operations_of(document: Json) -> Iterator[tuple[tuple[str, str], Json]]:
    """((method, path), operation) of a document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (method, path), operation


class _Schemas:
    """Every type the document speaks of, each once."""

    def __init__(self, kinds: list[Any]) -> None:
        self._kinds = [*kinds, ProblemDetails]
        found, components = msgspec.json.schema_components(
            self._kinds, ref_template=_SCHEMAS + "{name}"
        )
        self._schemas = [_readable(schema) for schema in found]
        self.components = {
            _plain_name(name): _readable(schema) for name, schema in sorted(components.items())
        }

    def of(self, kind: object) -> Json:
        """The schema of a type, or a reference to it; of one of several if it is a tuple."""
        found = [self._schemas[self._kinds.index(one)] for one in _alternatives(kind)]
        if not found:
            return {"type": "string"}
        return found[0] if len(found) == 1 else {"anyOf": found}


def _alternatives(kind: object) -> tuple[Any, ...]:
    if kind is None:
        return ()
    return kind if isinstance(kind, tuple) else (kind,)


def _complete(operation: Json, told: _Operation, schemas: _Schemas) -> None:
    answers = {told.status: told.answers} | {
        status: (content,) for status, content in told.otherwise.items()
    }
    operation["responses"] = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "headers": {name: _header(name) for name in ("X-Request-Id", *told.headers)},
        }
        | ({"content": _contents(contents, schemas)} if contents else {})
        for status, contents in answers.items()
    } | {
        str(status): _reference(status)
        for status in sorted(_refusals(operation, told) - answers.keys())
    }
    if told.body:
        operation["requestBody"] = {
            "required": told.body_required,
            "content": _contents(told.body, schemas),
        }


def _refusals(operation: Json, told: _Operation) -> set[int]:
    """The statuses a request may be refused with."""
    parameters = operation.get("parameters", ())
    secured = "security" in operation
    may = {
        400: any(parameter["name"] == "cursor" for parameter in parameters),
        401: secured,
        403: secured,
        404: any(parameter["in"] == "path" for parameter in parameters),
        413: bool(told.body),
        # Unknown parameters are refused too.
        422: secured,
        500: True,
        503: secured,
    }
    return {status for status, does in may.items() if does} | told.problems


def _contents(contents: tuple[Content, ...], schemas: _Schemas) -> Json:
    return {
        content.media_type: {
            "schema": schemas.of(content.kind),
            "example": plain(content.example),
        }
        for content in contents
    }


def plain(value: object) -> Any:  # noqa: ANN401 -- any JSON
    """A value as its JSON reads."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _reference(status: int) -> Json:
    return {"$ref": f"#/components/responses/{_problem_name(status)}"}


def _problem_name(status: int) -> str:
    return KINDS[status].title().replace("-", "")


def _problem(status: int) -> Json:
    names = ("X-Request-Id", *_PROBLEM_HEADERS.get(status, ()))
    return {
        "description": _PROBLEMS[status],
        "headers": {name: _header(name) for name in names},
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": _SCHEMAS + "ProblemDetails"},
                "example": plain(details(status, _PROBLEMS[status], "3f9c0d1b7a52e684")),
            }
        },
    }


def _plain_parameters(operation: Json) -> None:
    """What pydantic says of parameters, without what cannot be sent in a query: null."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        if "anyOf" in schema:
            (only,) = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
            schema |= only
        for redundant in ("title", "description"):
            schema.pop(redundant, None)


def _shared_parameters(operations: list[Json]) -> Json:
    """Parameters that several operations have alike, moved out of them."""
    alike = Counter(
        (parameter["name"], msgspec.json.encode(parameter))
        for operation in operations
        for parameter in operation.get("parameters", ())
    )
    shared: dict[str, bytes] = {}
    for (name, encoded), n in alike.most_common():
        if n > 1:
            shared.setdefault(name, encoded)
    for operation in operations:
        if "parameters" in operation:
            operation["parameters"] = [
                {"$ref": f"#/components/parameters/{parameter['name']}"}
                if shared.get(parameter["name"]) == msgspec.json.encode(parameter)
                else parameter
                for parameter in operation["parameters"]
            ]
    return {name: msgspec.json.decode(encoded) for name, encoded in sorted(shared.items())}


def _plain_name(name: str) -> str:
    """`Page_Device_` is DevicePage."""
    generic = _GENERIC.fullmatch(name)
    return f"{generic[2]}{generic[1]}" if generic else name


def _readable(schema: Any) -> Any:  # noqa: ANN401 -- any JSON
    """A schema with plain names, and docstrings in one piece."""
    if isinstance(schema, list):
        return [_readable(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    read = {name: _readable(part) for name, part in schema.items()}
    if isinstance(read.get("$ref"), str):
        read["$ref"] = _SCHEMAS + _plain_name(read["$ref"].removeprefix(_SCHEMAS))
    if isinstance(read.get("description"), str):
        read["description"] = re.sub(r"\n +", "\n", read["description"]).strip()
    if isinstance(read.get("title"), str):
        read.pop("title")
    return read
