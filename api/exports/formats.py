"""The formats of exports, by the names queries use and the media types clients accept."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from api.document.route import CSV, NDJSON
from api.exports.batches import Batch, Kinds
from api.exports.tables import Csv, Parquet
from api.exports.tracks import GeoJson, Gpx, Kml

FormatName = Literal["ndjson", "csv", "parquet", "geojson", "gpx", "kml"]
TableName = Literal["ndjson", "csv", "parquet"]


class Writer(Protocol):
    """Makes a file of batches, piece by piece. Pure, and used by one task at a time."""

    def start(self) -> bytes:
        """What comes before the first row."""

    def add(self, batch: Any) -> bytes:  # noqa: ANN401 -- of its own kind
        """Some rows; nothing while they are gathered."""

    def end(self) -> bytes:
        """What comes behind the last row."""


class Lines:
    """A line of JSON for each row."""

    def start(self) -> bytes:
        """Nothing yet."""
        return b""

    def add(self, batch: Batch) -> bytes:
        """Some lines."""
        return batch.lines()

    def end(self) -> bytes:
        """Nothing more."""
        return b""


class Gzipped:
    """What another writer makes, compressed."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        # Fast: it must keep up with the rows.
        self._packing = zlib.compressobj(1, wbits=31)

    def start(self) -> bytes:
        """What is ready of its beginning."""
        return self._packing.compress(self._writer.start())

    def add(self, batch: Any) -> bytes:  # noqa: ANN401 -- of its own kind
        """What is ready."""
        return self._packing.compress(self._writer.add(batch))

    def end(self) -> bytes:
        """All the rest."""
        return self._packing.compress(self._writer.end()) + self._packing.flush()


@dataclass(frozen=True, slots=True)
class Format:
    """How a file of it is made and called. `packed` needs no compression on its way."""

    media_type: str
    writer: Callable[[Kinds], Writer]
    packed: bool = False


FORMATS: Mapping[str, Format] = {
    "ndjson": Format(NDJSON, lambda _: Lines()),
    "csv": Format(f"{CSV}; charset=utf-8", Csv),
    "parquet": Format("application/vnd.apache.parquet", Parquet, packed=True),
    "geojson": Format("application/geo+json", lambda _: GeoJson()),
    "gpx": Format("application/gpx+xml", lambda _: Gpx()),
    "kml": Format("application/vnd.google-earth.kml+xml", lambda _: Kml()),
}


def accepted(accept: str, names: tuple[str, ...]) -> str | None:
    """The first of these formats whose media type an Accept header names."""
    for part in accept.split(","):
        wanted = part.partition(";")[0].strip().lower()
        for name in names:
            if FORMATS[name].media_type.partition(";")[0] == wanted:
                return name
    return None
