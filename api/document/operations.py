"""What a route says of itself, as the OpenAPI document needs it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from api.conventions.answers import JSON

NDJSON = "application/x-ndjson"
CSV = "text/csv"


class Content(NamedTuple):
    """One way a body is written: what is encoded or decoded, and how it looks.

    `kind` is a type msgspec knows, a tuple for one of several, None for what is not JSON.
    """

    kind: Any
    example: object
    media_type: str = JSON

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types it may be."""
        if self.kind is None:
            return ()
        return self.kind if isinstance(self.kind, tuple) else (self.kind,)


@dataclass(frozen=True, slots=True)
class Operation:
    """A route: how it answers, what it takes, and how it may refuse."""

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
            yield from content.kinds

    def answered_in(self, media_type: str) -> tuple[Any, ...]:
        """The types it answers with in a media type."""
        found = (content.kinds for content in self.answers if content.media_type == media_type)
        return tuple(kind for kinds in found for kind in kinds)


def plain(value: object) -> Any:  # noqa: ANN401 -- any JSON
    """A value as its JSON reads."""
    return msgspec.json.decode(msgspec.json.encode(value))
