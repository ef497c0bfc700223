"""How a call is answered: when it is sent, sent again, and given up. Pure: no sockets, no clock.

A script is a generator that yields what is to be done and is told what came of it. The two
clients do it, each in its own way, and have nothing to decide.
"""

import random
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from waymark.client.calls import Call
from waymark.client.errors import Conflict, Lost, Unavailable, WaymarkError, error_of

T = TypeVar("T")

_PASSING = {429, 502, 503, 504}


class Answer(NamedTuple):
    """An answer over HTTP; the names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Authorize(NamedTuple):
    """Bring a credential, a newer one than `refused` where there may be one; told the token."""

    refused: str | None = None


class Send(NamedTuple):
    """Send a request; told the `Answer`, or thrown a `Lost`."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None


class Pause(NamedTuple):
    """Wait."""

    seconds: float


class Give(NamedTuple):
    """Hand an item to whoever iterates; told nothing."""

    item: Any


class Done(NamedTuple):
    """The script is over, with this value."""

    value: Any


# What a script asks for is answered as each effect says, which a generator's type cannot.
Script = Generator[Any, Any, T]


class Run:
    """A script under way.

    What is to be done stays so until it is told what came of it: whoever is cancelled in the middle
    of it may do it again.
    """

    def __init__(self, script: Script[Any]) -> None:
        self._script = script
        self._resume: Callable[[], Any] = partial(next, script)
        self._effect: Any = None

    @property
    def effect(self) -> Any:  # noqa: ANN401 -- whatever a script yields
        """What is to be done; raises what the script raises."""
        if self._effect is None:
            try:
                self._effect = self._resume()
            except StopIteration as stop:
                self._effect = Done(stop.value)
        return self._effect

    def told(self, value: object) -> None:
        """Note what came of it."""
        self._resume, self._effect = partial(self._script.send, value), None

    def failed(self, lost: Lost) -> None:
        """Note that it could not be done."""
        self._resume, self._effect = partial(self._script.throw, lost), None


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a call is sent, and how long is waited in between: doubling, with jitter.

    Who asks to come back later than `longest_s` is not waited for.
    """

    tries: int = 7
    first_s: float = 0.2
    longest_s: float = 10.0
    luck: Callable[[], float] = random.random

    def pauses(self) -> Iterator[float]:
        """Endless pauses, of which the client takes one less than tries."""
        ceiling_s = self.first_s
        while True:
            # Not 0: a server that just came back is not asked by all at once.
            yield ceiling_s * (0.5 + 0.5 * self.luck())
            ceiling_s = min(ceiling_s * 2, self.longest_s)


def exchange(call: Call[T], patience: Patience) -> Script[T]:
    """The answer to a call.

    Everything may be sent again: questions change nothing, and what changes something has an
    idempotency key, the same each time.

    Raises:
        WaymarkError: a refusal, at once where it stays one, else after all tries.
    """
    headers = {"Accept": "application/json", **call.headers}
    if call.method != "GET":
        headers["Idempotency-Key"] = call.key or uuid4().hex
    token = yield Authorize()
    renewed = False
    pauses = patience.pauses()
    tries = 0
    while True:
        tries += 1
        try:
            answer = yield Send(
                call.method,
                call.target,
                {**headers, "Authorization": f"Bearer {token}"},
                call.content,
            )
        except Lost as lost:
            fault: WaymarkError = Unavailable(f"{call.method} {call.path}: {lost.reason}")
        else:
            if answer.status < 300:
                return call.decoded(answer.body)
            fault = error_of(answer.status, answer.headers, answer.body)
            if answer.status == 401 and not renewed:
                renewed = True
                newer = yield Authorize(refused=token)
                if newer != token:
                    token = newer
                    continue
        pause_s = max(next(pauses), fault.retry_after_s or 0.0)
        if not _passes(fault) or tries >= patience.tries or pause_s > patience.longest_s:
            raise fault
        yield Pause(pause_s)


def _passes(fault: WaymarkError) -> bool:
    """Whether the same may be answered otherwise in a moment."""
    if isinstance(fault, Conflict):
        # An earlier sending of this very request is being carried out.
        return fault.retry_after_s is not None
    return fault.status is None or fault.status in _PASSING
