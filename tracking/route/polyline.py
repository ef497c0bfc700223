"""Encoded polylines: places as text, as routing engines exchange them.

Each coordinate is the difference to the one before in steps of 10^-precision degrees, sign in the
lowest bit, five bits a character, lowest first; latitude before longitude.
"""

from collections.abc import Iterator, Sequence

# A difference has at most 32 bits for 180 degrees in steps of a millionth, with its sign.
_BITS_MAX = 35


def decode(text: str, precision: int = 5) -> list[tuple[float, float]]:
    """The [lon, lat] of an encoded polyline.

    Raises:
        ValueError: It is not one, with the place in it.
    """
    step = 10**precision
    lon = lat = 0
    points: list[tuple[float, float]] = []
    numbers = _numbers(text)
    for north in numbers:
        east = next(numbers, None)
        if east is None:
            raise ValueError("it ends after a latitude")
        lat, lon = lat + north, lon + east
        points.append((lon / step, lat / step))
    return points


def encode(points: Sequence[tuple[float, float]], precision: int = 5) -> str:
    """Places as an encoded polyline; what `decode` gives of it are these, rounded."""
    step = 10**precision
    text: list[str] = []
    lon0 = lat0 = 0
    for lon, lat in points:
        lon1, lat1 = round(lon * step), round(lat * step)
        text += [_written(lat1 - lat0), _written(lon1 - lon0)]
        lon0, lat0 = lon1, lat1
    return "".join(text)


def _numbers(text: str) -> Iterator[int]:
    bits = shift = 0
    for i, char in enumerate(text):
        value = ord(char) - 63
        if not 0 <= value < 64 or shift >= _BITS_MAX:
            raise ValueError(f"no encoded polyline at character {i}")
        bits |= (value & 31) << shift
        shift += 5
        if value < 32:
            yield ~(bits >> 1) if bits & 1 else bits >> 1
            bits = shift = 0
    if shift:
        raise ValueError("it ends within a number")


def _written(number: int) -> str:
    bits = ~(number << 1) if number < 0 else number << 1
    chars: list[str] = []
    while bits >= 32:
        chars.append(chr((bits & 31 | 32) + 63))
        bits >>= 5
    return "".join([*chars, chr(bits + 63)])
