"""The OpenAPI document: what FastAPI knows, completed by what the routes say and all have."""

from collections import Counter
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import msgspec

from api.conventions.answers import JSON_TYPES
from api.conventions.fields import Fields
from api.conventions.problems import KINDS, MEDIA_TYPE, ProblemDetails, details
from api.document.components import REFERENCE, Schemas
from api.document.operations import Content, Operation, plain
from api.document.parts import HEADERS, PARAMETERS, PROBLEM_HEADERS, PROBLEMS, Json


def completed(document: Json, operations: Mapping[str, Operation]) -> Json:
    """FastAPI's document, which knows paths and parameters, with all that it cannot know."""
    used = [(key[0], operation) for key, operation in operations_of(document)]
    told = [operations.get(operation["operationId"]) for _, operation in used]
    kinds = [kind for one in told if one for kind in one.kinds()]
    schemas = Schemas([*kinds, ProblemDetails])
    for (method, operation), one in zip(used, told, strict=True):
        _plain_parameters(operation)
        if one is not None:
            _Completion(method, operation, one).complete(schemas)
    components = document.setdefault("components", {})
    components["schemas"] = schemas.components
    components["headers"] = HEADERS
    components["responses"] = {_problem_name(status): _problem(status) for status in PROBLEMS}
    components["parameters"] = _shared_parameters([operation for _, operation in used])
    document["servers"] = [{"url": "/", "description": "The server this document came from"}]
    return document


def operations_of(document: Json) -> Iterator[tuple[tuple[str, str], Json]]:
    """((method, path), operation) of a document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (method, path), operation


class _Completion:
    """What an operation says of itself, and what the conventions make of it."""

    def __init__(self, method: str, operation: Json, told: Operation) -> None:
        self._operation = operation
        self._told = told
        self._parameters: list[Json] = operation.setdefault("parameters", [])
        self._secured = "security" in operation
        # As `identity.auth` begins, `conventions.etags` asks and `conventions.middleware` finishes.
        self._keyed = method != "get" and bool(_asks_for(operation) - {"read"})
        self._guarded = 412 in told.problems
        media_types = {content.media_type for content in told.answers}
        self._cached = method == "get" and not JSON_TYPES.isdisjoint(media_types)
        self._paged = self._takes("cursor")

    def complete(self, schemas: Schemas) -> None:
        """Write it into the document."""
        self._permit()
        self._name_fields()
        # Before the headers: those every request has say nothing of this one.
        refusals = self._refusals()
        self._parameters += [
            PARAMETERS[name]
            for name, applies in (
                ("If-None-Match", self._cached),
                ("If-Match", self._guarded),
                ("Idempotency-Key", self._keyed),
            )
            if applies
        ]
        told = self._answers(schemas)
        self._operation["responses"] = told | {
            str(status): _reference(status)
            for status in sorted(refusals)
            if str(status) not in told
        }
        for status in refusals & self._told.otherwise.keys():
            told[str(status)]["content"] |= _problem(status)["content"]
        if self._told.body:
            self._operation["requestBody"] = {
                "required": self._told.body_required,
                "content": _contents(self._told.body, schemas),
            }

    def _name_fields(self) -> None:
        """Say which members there are to choose from: as in a list, divided by commas."""
        for parameter in self._parameters:
            if parameter["name"] == "fields":
                kinds = tuple(kind for content in self._told.answers for kind in content.kinds)
                items = {"type": "string", "enum": Fields.names(kinds)}
                parameter["schema"] = {"type": "array", "items": items, "minItems": 1}
                parameter |= {"style": "form", "explode": False}

    def _permit(self) -> None:
        """Say which permission is asked for: the noun is the first tag."""
        noun = self._operation["tags"][0]
        for one in self._operation.get("security", ()):
            for name, scopes in one.items():
                one[name] = [f"{noun}:{scope}" for scope in scopes]

    def _answers(self, schemas: Schemas) -> Json:
        told = self._told
        names = [
            "X-Request-Id",
            *told.headers,
            *(["ETag"] if self._cached else []),
            *(["Link"] if self._paged else []),
            *(["Idempotent-Replayed"] if self._keyed else []),
        ]
        headers = {name: _header(name) for name in dict.fromkeys(names)}
        bodies = {told.status: told.answers}
        bodies |= {status: (content,) for status, content in told.otherwise.items()}
        found: Json = {
            str(status): {"description": HTTPStatus(status).phrase, "headers": headers}
            | ({"content": _contents(contents, schemas)} if contents else {})
            for status, contents in bodies.items()
        }
        if self._cached:
            found["304"] = {"description": "What you have is still true", "headers": headers}
        return found

    def _refusals(self) -> set[int]:
        """The statuses a request may be refused with."""
        may = {
            400: self._paged,
            401: self._secured,
            403: self._secured,
            404: any(parameter["in"] == "path" for parameter in self._parameters),
            409: self._keyed,
            413: bool(self._told.body),
            # Unknown parameters are refused too.
            422: self._secured,
            414: any(one["in"] == "query" for one in self._parameters),
            # By the address a request comes from.
            429: True,
            500: True,
            503: self._secured,
        }
        return {status for status, does in may.items() if does} | self._told.problems

    def _takes(self, name: str) -> bool:
        return any(parameter["name"] == name for parameter in self._parameters)


def _asks_for(operation: Json) -> set[str]:
    return {scope for one in operation.get("security", ()) for name in one for scope in one[name]}


def _schema_of(content: Content, schemas: Schemas) -> Json:
    """What is encoded, one of several types or text where it is no JSON."""
    found = [schemas.of(kind) for kind in content.kinds]
    if not found:
        return {"type": "string"}
    return found[0] if len(found) == 1 else {"anyOf": found}


def _contents(contents: tuple[Content, ...], schemas: Schemas) -> Json:
    return {
        content.media_type: {
            "schema": _schema_of(content, schemas),
            "example": plain(content.example),
        }
        for content in contents
    }


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _reference(status: int) -> Json:
    return {"$ref": f"#/components/responses/{_problem_name(status)}"}


def _problem_name(status: int) -> str:
    return KINDS[status].title().replace("-", "")


def _problem(status: int) -> Json:
    names = ("X-Request-Id", *PROBLEM_HEADERS.get(status, ()))
    return {
        "description": PROBLEMS[status],
        "headers": {name: _header(name) for name in names},
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": f"{REFERENCE}ProblemDetails"},
                "example": plain(details(status, PROBLEMS[status], "3f9c0d1b7a52e684")),
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
