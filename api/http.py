"""uvicorn's HTTP protocol, made to bound what comes before a body: size, number and time.

uvicorn's C parser takes headers of any size, and waits for ever for their end.
"""

import asyncio
from typing import NoReturn

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.conventions.problems import MEDIA_TYPE, Problem, problem_body

# Longer than any cursor with every filter there is; what needs more belongs into a body.
MAX_URL_BYTES = 16_384
# A token of an OIDC provider may take half of it.
MAX_HEAD_BYTES = 65_536
# From the first byte of a connection or request to the end of its headers.
HEAD_WITHIN_S = 10.0


class _RefusedError(Exception):
    pass


class HttpProtocol(HttpToolsProtocol):
    """Refuses heads that are too large, and lets go of those that do not come."""

    _head_bytes = 0
    _in_head = True
    _heads = 0
    _head_timer: asyncio.TimerHandle | None = None
    _problem: Problem | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what came, unless it makes a head too large."""
        heads = self._heads
        super().data_received(data)
        if self._in_head and heads == self._heads and not self.transport.is_closing():
            # A header that never ends is not told by the parser.
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES + MAX_URL_BYTES:
                self._problem = _TOO_LARGE
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._heads += 1
        if self._head_timer is None:
            self._await_head()

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._refuse(Problem(414, f"a URL has at most {MAX_URL_BYTES} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong, as everywhere, and hang up."""
        problem = self._problem or Problem(400, msg)
        body = problem_body(problem, "")
        self.transport.write(
            b"%bcontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n"
            b"x-content-type-options: nosniff\r\n\r\n%b"
            % (STATUS_LINE[problem.status], MEDIA_TYPE.encode(), len(body), body)
        )
        self.transport.close()

    def _refuse(self, problem: Problem) -> NoReturn:
        self._problem = problem
        # Ends the parser, which has uvicorn call `send_400_response`.
        raise _RefusedError

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


_TOO_LARGE = Problem(431, f"headers have at most {MAX_HEAD_BYTES} bytes together")
