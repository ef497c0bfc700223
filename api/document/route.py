"""How a route says what it is: `**documented(...)`, and the application that can tell it.

What is the same everywhere is added when the document is asked for: problems, headers,
credentials, shared parameters.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Response

from api.conventions.answers import JSON
from api.document.openapi import completed
from api.document.operations import CSV, NDJSON, Content, Operation, plain

__all__ = ["CSV", "NDJSON", "Content", "DescribedApi", "documented", "operation_of"]

# By the first tag of a route, which is also the noun of its permissions.
TAGS = {
    "alerts": "What rules raised, and what people did about it.",
    "api-keys": "Credentials of services; for admins.",
    "assets": "Whatever carries and is carried, and where each is and was.",
    "attachments": "What was on or in what, and when.",
    "audit": "Who did what, and what it was before.",
    "auth": "Signing in: tokens, sessions, passwords, the second factor.",
    "dead-letters": "Messages that could not be understood, byte for byte.",
    "broker": "For MQTT brokers: may this device connect, publish, subscribe?",
    "commands": "What devices are to do, and what they answered.",
    "credentials": "What devices show the MQTT broker.",
    "dead letters": "Messages that could not be understood, byte for byte.",
    "devices": "Whatever sends positions, its state now, and where it has been.",
    "eta": "How right forecasts of arrival were.",
    "events": "What happened, as CloudEvents with gapless cursors; and why.",
    "backfills": "Histories brought in, and what became of them.",
    "exports": "Whole histories as files, out of one snapshot of the database.",
    "feed": "Positions and events as they happen.",
    "fences": "Areas, their versions, and what they would have raised.",
    "health": "For orchestrators and scrapers; without a credential.",
    "ledger": "What became of everything each device sent.",
    "map": "What the live map must know before anybody signed in.",
    "orders": "Where all shipments of an order are.",
    "pickups": "Requests to pick something up, once or again and again.",
    "positions": "Where everything is now.",
    "privacy": "What is forgotten on request, and how long a tenant keeps its data.",
    "rules": "Which events are worth an alert.",
    "trips": "From a stay to the next: when, where, how far and how fast.",
    "users": "People who sign in, and what they may.",
    "share-links": "One shipment, shown to whoever has the link.",
    "shipments": "What is brought from where to where; its status keeps itself.",
    "visits": "Stays in fences, and in areas drawn afterwards.",
    "webhooks": "Who is told of events, at least once and in order; and what became of it.",
}

# What the routes say of themselves, by operationId; filled while they are defined.
_operations: dict[str, Operation] = {}


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
    _operations[operation_id] = Operation(
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
        # Every answer is written by `api.conventions.answers`; FastAPI has nothing to add to it.
        "response_class": Response,
    }


def operation_of(operation_id: str) -> Operation:
    """What a route said of itself."""
    return _operations[operation_id]


class DescribedApi(FastAPI):
    """FastAPI, with a document of our own making."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_tags = [{"name": name, "description": text} for name, text in TAGS.items()]
            self.openapi_schema = plain(completed(super().openapi(), _operations))
        return self.openapi_schema
