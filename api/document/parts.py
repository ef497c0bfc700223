"""The parts every operation of the OpenAPI document shares: headers, parameters, refusals."""

from typing import Any

Json = dict[str, Any]

HEADERS: dict[str, Json] = {
    "X-Request-Id": {
        "description": "The request's id: yours if you sent one; it stands in problems and logs",
        "schema": {"type": "string"},
        "example": "3f9c0d1b7a52e684",
    },
    "ETag": {
        "description": "What is told: send it back as If-None-Match, or a version as If-Match",
        "schema": {"type": "string"},
        "example": '"3"',
    },
    "Link": {
        "description": "Where the next page is, `rel=next`",
        "schema": {"type": "string"},
        "example": '</v1/devices?limit=100&cursor=WyJuIiwidmFuLTciXQ>; rel="next"',
    },
    "Idempotent-Replayed": {
        "description": "`true`: this is the answer the first request under the key got",
        "schema": {"const": "true"},
        "example": "true",
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

# Of the request; `api.conventions` understands them.
PARAMETERS: dict[str, Json] = {
    name: {"name": name, "in": "header", "required": False, "description": text, "schema": schema}
    for name, text, schema in (
        (
            "If-None-Match",
            "ETags you have: 304 without a body if one of them is still true",
            {"type": "string"},
        ),
        (
            "If-Match",
            "The ETag you read: 412 if there is another version by now",
            {"type": "string"},
        ),
        (
            "Idempotency-Key",
            (
                "Chosen by you, best a UUID. A request sent again under it within 24 hours gets "
                "the first answer and does not happen again."
            ),
            {"type": "string", "pattern": "^[!-~]{1,255}$"},
        ),
    )
}

# What each refusal brings along besides its document.
PROBLEM_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
PROBLEMS = {
    400: "The cursor was not given out here, or for another list",
    401: "No valid credential",
    403: "The credential does not permit this",
    404: "It is not there, or not yours",
    409: "It is there already, or its state does not allow this",
    412: "It is not the version that If-Match names",
    413: "The body is too large",
    414: "The address is too long",
    422: "A parameter or member is wrong; `field` names it",
    429: "Too many at a time",
    500: "A defect; the log has the request id",
    503: "Something the api needs is away",
}
