"""Files as recordings: opened through gzip or zip, their text encoding and format found out."""

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from tracking.errors import InputError

_SNIFF_BYTES = 65_536
_REC_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\t")
# Controls that no text format here contains; tab, newlines, form feed and escape stay allowed.
_CONTROLS = frozenset(range(9)) | frozenset(range(14, 27))
_NOT_DATA = re.compile(r"(^|/)(__MACOSX/|\.|licen[cs]e|readme)", re.IGNORECASE)


class Format(StrEnum):
    """The formats replay reads."""

    GPX = "gpx"
    GEOJSON = "geojson"
    CSV = "csv"
    REC = "rec"
    TRACKS = "tracks"  # the `x y t` text files of the Chicago shuttle


@dataclass(frozen=True, slots=True)
class Recording:
    """One file, or one member of a zip archive."""

    path: Path
    format: Format
    encoding: str
    compressed_bytes: int
    member: str | None = None

    @property
    def name(self) -> str:
        """What messages about it call it."""
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    @property
    def stem(self) -> str:
        """The name without folder and endings: what a device is called that nothing else names."""
        bare = PurePosixPath(self.member).name if self.member else self.path.name
        for ending in (".gz", ".gpx", ".geojson", ".json", ".csv", ".tsv", ".txt", ".rec"):
            bare = bare.removesuffix(ending)
        return bare


@dataclass(frozen=True, slots=True)
class Opened:
    """An open recording: its bytes, decompressed, and how many compressed bytes were consumed."""

    stream: BinaryIO
    position: Callable[[], int]

    def text(self, encoding: str) -> io.TextIOWrapper:
        """The bytes as text; those that are not in the encoding stay visible as escapes."""
        return io.TextIOWrapper(
            self.stream, encoding=encoding, errors="backslashreplace", newline=""
        )


def find(paths: Sequence[Path], forced: Format | None = None) -> list[Recording]:
    """The recordings in `paths`, in their order; nothing is read but each one's beginning.

    Raises:
        InputError: a file is missing, empty, damaged at its start, or of no known format.
    """
    return [recording for path in paths for recording in _recordings(path, forced)]


@contextmanager
def opened(recording: Recording) -> Iterator[Opened]:
    """Open for reading from the start.

    Raises:
        InputError: also out of the block, when the file proves damaged while it is read.
    """
    with _damage_explained(recording.name), recording.path.open("rb") as raw:
        if recording.member is not None:
            with zipfile.ZipFile(raw) as archive, archive.open(recording.member) as stream:
                yield Opened(cast("BinaryIO", stream), lambda: 0)
        elif raw.read(2) == b"\x1f\x8b":
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) as stream:
                yield Opened(cast("BinaryIO", stream), raw.tell)
        else:
            raw.seek(0)
            yield Opened(raw, raw.tell)


def _recordings(path: Path, forced: Format | None) -> list[Recording]:
    with _damage_explained(str(path)):
        size_bytes = path.stat().st_size
        if size_bytes == 0:
            raise InputError(f"{path} is empty")
        blank = Recording(path, forced or Format.CSV, "utf-8-sig", size_bytes)
        if not zipfile.is_zipfile(path):
            return [_recognised(blank, forced)]
        with zipfile.ZipFile(path) as archive:
            members = [
                replace(blank, member=entry.filename, compressed_bytes=entry.compress_size)
                for entry in archive.infolist()
                if entry.file_size and not _NOT_DATA.search(entry.filename)
            ]
    if not members:
        raise InputError(f"{path} holds no recording")
    return [_recognised(member, forced) for member in members]


def _recognised(blank: Recording, forced: Format | None) -> Recording:
    with opened(blank) as source:
        head = source.stream.read(_SNIFF_BYTES)
    encoding = "utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    if encoding == "utf-16":
        head = head[: len(head) // 2 * 2].decode("utf-16", errors="replace").encode()
    head = head.removeprefix(b"\xef\xbb\xbf")
    if not head.strip():
        raise InputError(f"{blank.name} is empty")
    if not _CONTROLS.isdisjoint(head):
        raise InputError(
            f"{blank.name} is binary data; replay reads GPX, GeoJSON, CSV (each also as .gz or "
            ".zip) and OwnTracks .rec"
        )
    return replace(blank, format=forced or _format(blank.name, head), encoding=encoding)


def _format(name: str, head: bytes) -> Format:
    start = head.lstrip()
    if start.startswith(b"<"):
        if re.search(rb"<([\w.-]+:)?gpx[\s/>]", head):
            return Format.GPX
        raise InputError(f"{name} is XML but not GPX; convert it, for example with gpsbabel")
    if start.startswith((b"{", b"[")):
        return Format.GEOJSON
    if _REC_LINE.match(start):
        return Format.REC
    if re.match(rb"[\d.+-]+ [\d.+-]+ [\d.+-]+\s", start):
        if "chicago" in name.lower():
            return Format.TRACKS
        raise InputError(
            f"{name} has no header; if these are `x y t` tracks in metres of UTM zone 16N, "
            "say --format tracks"
        )
    return Format.CSV


@contextmanager
def _damage_explained(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise InputError(f"there is no file {name}") from exc
    except IsADirectoryError as exc:
        raise InputError(f"{name} is a folder; name the files in it") from exc
    except PermissionError as exc:
        raise InputError(f"{name} may not be read: check its permissions") from exc
    except EOFError as exc:
        raise InputError(
            f"{name} is cut short: its gzip data end early; fetch the file again"
        ) from exc
    except (gzip.BadGzipFile, zlib.error, zipfile.BadZipFile) as exc:
        raise InputError(f"{name} is damaged ({str(exc).lower()}); fetch the file again") from exc
