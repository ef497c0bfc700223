"""From a recording and the user's options to its rows: which reader, bound to which mapping."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from tracking.errors import InputError
from waymark.replay.mapping import Mapping, RowMapper
from waymark.replay.named import choose, with_columns
from waymark.replay.readers import csv_rows, geojson, gpx, owntracks_rec, utm_tracks
from waymark.replay.reading import Row, device_name
from waymark.replay.source import Format, Opened, Recording


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What the user said about tables; None and empty leave it to the mapping."""

    mapping: Mapping | None = None
    columns: dict[str, str | list[str]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    time_format: str | None = None
    timezone: str | None = None
    device: str | None = None

    def mapping_for(self, columns: Sequence[str]) -> Mapping:
        """The mapping for a table with these columns, with the user's words on top."""
        mapping = self.mapping or choose(columns)
        mapping = with_columns(mapping, self.columns, self.units)
        if "speed" in mapping.units and (self.units or self.columns):
            given = {name for name in (*self.units, *self.columns) if name.startswith("speed")}
            if given:
                mapping = msgspec.structs.replace(mapping, earlier_speed_unit=None)
        if self.time_format is not None:
            mapping = msgspec.structs.replace(mapping, time_formats=(self.time_format,))
        if self.timezone is not None:
            mapping = msgspec.structs.replace(mapping, timezone=self.timezone)
        if self.device is not None:
            mapping = msgspec.structs.replace(mapping, device=self.device)
        return mapping


class RowSource:
    """The rows of one recording; afterwards also what was found out about it."""

    def __init__(self, recording: Recording, options: TableOptions) -> None:
        self._recording = recording
        self._options = options
        self._mapper: RowMapper | None = None
        self.mapping: Mapping | None = None

    def rows(self, source: Opened) -> Iterator[Row]:
        """Every row in file order.

        Raises:
            InputError: the file cannot be read as its format, or a needed column is not there.
        """
        recording = self._recording
        device = device_name(self._options.device or recording.stem)
        if recording.format is Format.GPX:
            yield from gpx.rows(source.stream, recording.name, device)
        elif recording.format is Format.GEOJSON:
            yield from geojson.rows(source.stream, recording.name, self._feature_mapper)
        else:
            with source.text(recording.encoding) as text:
                yield from self._text_rows(text, device)

    def _text_rows(self, text: io.TextIOBase, device: str) -> Iterator[Row]:
        recording = self._recording
        if recording.format is Format.REC:
            given = None if self._options.device is None else device
            return owntracks_rec.rows(text, given, recording.path)
        if recording.format is Format.TRACKS:
            return utm_tracks.rows(text, device)
        return csv_rows.rows(text, recording.name, self._table_mapper)

    @property
    def notice(self) -> str | None:
        """What the user should know about how the times were read, None when nothing."""
        if self._mapper is None or self.mapping is None or self.mapping.timezone is not None:
            return None
        zoneless = self._mapper.times.zoneless
        if not zoneless:
            return None
        return (
            f"{self._recording.name}: {zoneless:,} times carry no zone and were taken as UTC; "
            "say --timezone if they are local"
        )

    def _table_mapper(self, columns: Sequence[str]) -> RowMapper:
        return self._bound(self._options.mapping_for(columns), columns)

    def _feature_mapper(self, columns: Sequence[str]) -> RowMapper:
        mapping = self._options.mapping_for(columns)
        places: dict[str, str | list[str]] = {"lon": geojson.LON, "lat": geojson.LAT}
        if geojson.ALT in columns:
            places["alt"] = geojson.ALT
        if geojson.TIME in columns:
            places["t"] = geojson.TIME
        merged = {**mapping.columns, **places}
        device = mapping.device
        if device is None and "device" not in merged:
            device = self._recording.stem
        mapping = msgspec.structs.replace(mapping, columns=merged, device=device)
        return self._bound(mapping, columns)

    def _bound(self, mapping: Mapping, columns: Sequence[str]) -> RowMapper:
        self.mapping = mapping
        try:
            self._mapper = RowMapper(mapping, columns)
        except InputError as exc:
            raise InputError(f"{self._recording.name}: {exc}", field=exc.field) from exc
        return self._mapper
