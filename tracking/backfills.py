"""A history as lines of JSON, cut into parts of whole lines while it arrives. Pure."""

import hashlib
from typing import NamedTuple

from tracking.errors import InputError

# Of a part: some two thousand positions, worked in by one transaction.
_PART_BYTES = 262_144
# As of a message of a device.
MAX_LINE_BYTES = 1_048_576


class Cut(NamedTuple):
    """Whole lines; `first_line` counts from 1."""

    number: int
    first_line: int
    payload: bytes


class Cutter:
    """Takes the bytes as they come; `lines` and `digest` tell of all that was taken."""

    def __init__(self, *, alerts: bool) -> None:
        self.lines = 0
        self._number = 0
        self._waiting = bytearray()
        # Asked for with alerts the same lines are another thing.
        self._digest = hashlib.sha256(b"alerts\n" if alerts else b"\n")

    @property
    def digest(self) -> bytes:
        """The same for the same content, whatever pieces it came in."""
        return self._digest.digest()

    def feed(self, piece: bytes) -> Cut | None:
        """A part, when there is enough for one.

        Raises:
            InputError: a line is too long.
        """
        self._digest.update(piece)
        self._waiting += piece
        end = self._waiting.rfind(b"\n") + 1
        if end and len(self._waiting) >= _PART_BYTES:
            return self._cut(end)
        if len(self._waiting) - end > MAX_LINE_BYTES:
            line = self.lines + self._waiting.count(b"\n") + 1
            raise InputError(f"line {line} has more than {MAX_LINE_BYTES:,} bytes", field="body")
        return None

    def end(self) -> Cut | None:
        """What is left, if anything."""
        if self._waiting and not self._waiting.endswith(b"\n"):
            self._waiting += b"\n"
        return self._cut(len(self._waiting)) if self._waiting else None

    def _cut(self, end: int) -> Cut:
        payload = bytes(self._waiting[:end])
        del self._waiting[:end]
        cut = Cut(self._number, self.lines + 1, payload)
        self._number += 1
        self.lines += payload.count(b"\n")
        return cut
