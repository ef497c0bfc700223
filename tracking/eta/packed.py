"""What was learned as bytes: named arrays, behind a header that says which format they are in."""

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracking.errors import ModelUnreadable

State = dict[str, NDArray[Any]]

# Raised whenever what is learned changes its meaning: cells, kernels, columns.
FORMAT = 1
_MAGIC = b"waymark eta\0"
# Floats do not pack well: more effort costs ten times the time and saves a twentieth.
_EFFORT = 1
_ADVICE = "learn anew with `waymark eta train --from-scratch`"


class _Column(msgspec.Struct, frozen=True):
    """How to read one array out of the bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]


_columns = msgspec.json.Decoder(list[_Column])


def pack(state: Mapping[str, NDArray[Any]]) -> bytes:
    """The arrays as bytes, bit for bit; no objects, so that reading them runs nothing."""
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    columns = [_Column(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    header = msgspec.json.encode(columns)
    body = [len(header).to_bytes(4, "big"), header, *(a.tobytes() for a in arrays.values())]
    return _MAGIC + FORMAT.to_bytes(2, "big") + zlib.compress(b"".join(body), _EFFORT)


def unpack(data: bytes) -> State:
    """The arrays `pack` was given.

    Raises:
        ModelUnreadable: they are damaged, none at all, or of a newer format.
    """
    start = len(_MAGIC) + 2
    if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
        raise ModelUnreadable(f"this is no model of arrivals: {_ADVICE}")
    format_ = int.from_bytes(data[len(_MAGIC) : start], "big")
    if format_ != FORMAT:
        other = "upgrade this program, or " if format_ > FORMAT else ""
        raise ModelUnreadable(
            f"a model of arrivals in format {format_}, where this program reads {FORMAT}: "
            f"{other}{_ADVICE}"
        )
    try:
        return _unpacked(zlib.decompress(data[start:]))
    except (zlib.error, msgspec.DecodeError, ValueError, TypeError) as exc:
        raise damaged(exc) from exc


def damaged(why: object) -> ModelUnreadable:
    """What to raise where arrays do not hold what they should."""
    return ModelUnreadable(f"a model of arrivals is damaged ({why}): {_ADVICE}")


def _unpacked(body: bytes) -> State:
    at = 4 + int.from_bytes(body[:4], "big")
    state: State = {}
    for column in _columns.decode(body[4:at]):
        dtype = np.dtype(column.dtype)
        if dtype.hasobject:
            raise ValueError("it holds objects")
        n = int(np.prod(column.shape, dtype=np.int64))
        flat = np.frombuffer(body, dtype, count=n, offset=at)
        state[column.name] = flat.reshape(column.shape).copy()
        at += n * dtype.itemsize
    return state


def texts(value: object) -> NDArray[np.uint8]:
    """Whatever JSON can tell, as an array among arrays."""
    return np.frombuffer(msgspec.json.encode(value), np.uint8)


def put(state: State, name: str, part: Mapping[str, NDArray[Any]]) -> None:
    """Add the arrays of a part under its name."""
    state.update({f"{name}.{inner}": array for inner, array in part.items()})


def part(state: Mapping[str, NDArray[Any]], name: str) -> State:
    """The arrays of a part, as it named them."""
    start = f"{name}."
    return {key[len(start) :]: array for key, array in state.items() if key.startswith(start)}
