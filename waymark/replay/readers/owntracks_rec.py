"""OwnTracks recorder files: `time TAB type TAB JSON` lines.

Format: https://github.com/owntracks/recorder (`storage.c`). `tst` is the fix time and may be
text; the time in front is when the recorder heard of it. `vel` is km/h; -1 in `vel` and `cog`
means unknown. Lines of other types (`lwt`, `transition`, `waypoint`, ...) are not positions.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import msgspec

from waymark.replay.mapping import NUMBERS, is_missing, number
from waymark.replay.reading import Reading, Row, SkipReason, device_name, make_reading
from waymark.replay.times import TimeParser

_MAX_LINE_CHARS = 1_000_000
_VALUES = {
    "lon": ("lon", 1.0),
    "lat": ("lat", 1.0),
    "alt": ("alt_m", 1.0),
    "vel": ("speed_mps", NUMBERS["speed"][1]["kmh"]),
    "cog": ("course_deg", 1.0),
    "acc": ("accuracy_m", 1.0),
    "batt": ("battery", 0.01),
}
_UNKNOWN_BELOW_ZERO = {"vel", "cog", "acc", "batt"}
_ATTRS = ("tid", "vac", "conn", "t", "bs", "SSID", "inregions", "tag", "poi")


def rows(text: io.TextIOBase, device: str | None, path: Path) -> Iterator[Row]:
    """Every line, numbered from 1.

    The device is `device`, else the line's own topic (`owntracks/user/phone` is `user:phone`),
    else the folders the recorder keeps the file in (`rec/user/phone/2026-01.rec`), else the
    file's name.
    """
    times = TimeParser(["epoch_s", "iso"])
    fallback = device or _device_of(path)
    line_number = 0
    while line := text.readline(_MAX_LINE_CHARS):
        line_number += 1
        yield _row(line_number, line.rstrip("\r\n"), device, fallback, times)


def _row(line_number: int, line: str, device: str | None, fallback: str, times: TimeParser) -> Row:
    def skip(reason: SkipReason) -> Row:
        return Row(line_number, skipped=reason, content=line)

    if not line.strip():
        return skip(SkipReason.EMPTY)
    parts = line.split("\t", 2)
    try:
        found = msgspec.json.decode(parts[2]) if len(parts) == 3 else None
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        return skip(SkipReason.BROKEN_LINE)
    if found.get("_type") != "location":
        return skip(SkipReason.NOT_A_POSITION)
    topic = found.get("topic")
    if device is None and isinstance(topic, str) and topic.count("/") >= 2:
        fallback = ":".join(topic.split("/")[1:3])
    return Row(line_number, (_reading(device_name(fallback), found, times),))


def _reading(device: str, found: dict[str, object], times: TimeParser) -> Reading:
    values: dict[str, object] = {}
    for key, (field, scale) in _VALUES.items():
        value = found.get(key)
        if is_missing(value):
            continue
        known = number(value)
        if known is None:
            values[field] = str(value)
        elif not (known < 0 and key in _UNKNOWN_BELOW_ZERO):
            values[field] = known if scale == 1.0 else round(known * scale, 6)
    attrs = {key: found[key] for key in _ATTRS if not is_missing(found.get(key))}
    raw_time = found.get("tst")
    return make_reading(device, times(raw_time), raw_time, values, attrs)


def _device_of(path: Path) -> str:
    folders = path.resolve().parts[:-1]
    if len(folders) >= 3 and folders[-3] == "rec":
        return f"{folders[-2]}:{folders[-1]}"
    return path.name.removesuffix(".gz").removesuffix(".rec")
