"""The client that blocks: does what scripts ask for with httpx and websockets, in any thread."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Generic, Self, TypeVar

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from waymark.client.calls import BlockingWay, Call, Page
from waymark.client.connecting import TIMEOUT_S, Address, check_credential, lost_of
from waymark.client.errors import Closed, Lost
from waymark.client.exchange import (
    Answer,
    Authorize,
    Done,
    Give,
    Patience,
    Pause,
    Run,
    Send,
    exchange,
)
from waymark.client.following import Following, Listen, Open, Say, Tail
from waymark.client.nouns import Nouns

T = TypeVar("T")
Row = TypeVar("Row")
Item = TypeVar("Item")


class Waymark(Nouns[BlockingWay]):
    """The tracking api at `url`. Any number of threads may use one; it ends with its context.

    `key` is an API key. `token` brings an access token instead: it is called for the first one,
    and again when that is refused or about to expire.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        token: Callable[[], str] | None = None,
        timeout_s: float = TIMEOUT_S,
        patience: Patience | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self)
        check_credential(key, token)
        self._address = Address.of(url, tls)
        self._patience = patience or Patience()
        self._credential = _Credential(key, token)
        self._http = httpx.Client(**self._address.http(timeout_s))
        # Those that were not ended: whoever breaks out of a loop leaves one behind.
        self._streams = set[_Stream[Any]]()
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every stream and connection; what waits for another try raises `Closed`."""
        self._closed.set()
        for stream in list(self._streams):
            stream.close()
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """The answer to any call, as the methods of the nouns make them."""
        run = Run(exchange(call, self._patience))
        while not isinstance(effect := run.effect, Done):
            try:
                came = self._perform(effect)
            except Lost as lost:
                run.failed(lost)
            else:
                run.told(came)
        answer: T = effect.value
        return answer

    def rows(self, call: Call[Page[Row]]) -> Iterator[Row]:
        """The rows of all pages."""
        page = self.send(call)
        while True:
            yield from page.items
            if page.next is None:
                return
            page = self.send(call.at(page.next))

    def follow(self, following: Following[Item]) -> "_Stream[Item]":
        """A stream of what the feed brings, as the methods of `feed` make them."""
        run = Run(following.script(self._patience))
        stream = _Stream(following.tail, run, self._address, self._perform, self._streams.discard)
        self._streams.add(stream)
        return stream

    def _perform(self, effect: object) -> object:
        """Do what a script asks for, and return what came of it.

        Raises:
            Lost: it could not be done.
        """
        match effect:
            case Send():
                return self._exchange(effect)
            case Authorize(refused=refused):
                return self._credential.token(refused)
            case Pause(seconds=seconds):
                self._closed.wait(seconds)
                return None
            case _:
                raise TypeError(effect)

    def _exchange(self, asked: Send) -> Answer:
        if self._closed.is_set():
            raise Closed("this client was closed")
        try:
            answer = self._http.request(
                asked.method, asked.target, headers=asked.headers, content=asked.body
            )
        except httpx.HTTPError as exc:
            raise lost_of(exc) from exc
        return Answer(answer.status_code, answer.headers, answer.content)


class _Credential:
    def __init__(self, key: str | None, bring: Callable[[], str] | None) -> None:
        self._token = key
        self._bring = bring
        self._lock = threading.Lock()

    def token(self, refused: str | None) -> str:
        # Whoever waited meanwhile takes what the first one brought.
        with self._lock:
            if self._bring is not None and self._token in {None, refused}:
                self._token = self._bring()
            return self._token or ""


class _Stream(Generic[Item]):
    """See `feed.BlockingStream`."""

    def __init__(
        self,
        tail: Tail[Item],
        run: Run,
        address: Address,
        otherwise: Callable[[object], object],
        ended: Callable[["_Stream[Any]"], object],
    ) -> None:
        self._tail = tail
        self._run = run
        self._address = address
        # Does what does not concern the socket.
        self._otherwise = otherwise
        self._ended = ended
        self._connection: ClientConnection | None = None
        self._leaving = ExitStack()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def cursor(self) -> int | None:
        """Up to where everything was given out."""
        return self._tail.since

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        while not self._closed.is_set():
            try:
                effect = self._run.effect
            except BaseException:
                self.close()
                raise
            if isinstance(effect, Give):
                self._run.told(None)
                item: Item = effect.item
                return item
            try:
                came = self._perform(effect)
            except Lost as lost:
                self._hang_up()
                self._run.failed(lost)
            else:
                self._run.told(came)
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; whoever waits for the next item is told that there is none."""
        self._closed.set()
        self._ended(self)
        self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            self._connection = None
            leaving = self._leaving.pop_all()
        leaving.close()

    def _perform(self, effect: object) -> object:
        try:
            match effect:
                case Open(token=token):
                    self._dial(token)
                    return None
                case Say(message=message):
                    self._open.send(message, text=True)
                    return None
                case Listen():
                    return self._open.recv(decode=False)
                case Pause(seconds=seconds):
                    self._closed.wait(seconds)
                    return None
                case _:
                    return self._otherwise(effect)
        except (OSError, WebSocketException) as exc:
            raise lost_of(exc) from exc

    def _dial(self, token: str) -> None:
        made = connect(**self._address.feed(token))
        with self._lock:
            self._connection = self._leaving.enter_context(made)
        if self._closed.is_set():
            # It was closed before there was anything to close.
            self._hang_up()

    @property
    def _open(self) -> ClientConnection:
        connection = self._connection
        if connection is None:
            raise Lost("the stream was closed")
        return connection
