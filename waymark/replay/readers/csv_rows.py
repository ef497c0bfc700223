"""CSV in any common dialect: header, delimiter found by counting, one row a reading or a trip."""

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tracking.errors import InputError
from waymark.replay.mapping import RowMapper
from waymark.replay.reading import Row, SkipReason

# One trip's polyline is one field: 3,881 points (90 kB) in the longest of the full Porto set.
_MAX_FIELD_CHARS = 8_000_000
# A record longer than this many lines is a quote that was never closed.
_MAX_RECORD_LINES = 1_000
_DELIMITERS = ",;\t|"

MapperFor = Callable[[Sequence[str]], RowMapper]


def read_header(text: io.TextIOBase, name: str) -> tuple[list[str], str, int]:
    """Column names, delimiter and the header's line number; `text` is left after the header.

    Raises:
        InputError: the first line that is not blank is no header.
    """
    lines = 1
    line = text.readline(_MAX_FIELD_CHARS)
    while line and not line.strip():
        lines += 1
        line = text.readline(_MAX_FIELD_CHARS)
    delimiter = max(_DELIMITERS, key=line.count)
    columns = [column.strip() for column in next(csv.reader([line], delimiter=delimiter), [])]
    if len(columns) < 2:
        raise InputError(
            f"{name}: the first line is no CSV header ({line.strip()[:60]!r}); "
            "replay reads GPX, GeoJSON, CSV with a header and OwnTracks .rec"
        )
    return columns, delimiter, lines


def rows(text: io.TextIOBase, name: str, mapper_for: MapperFor) -> Iterator[Row]:
    """Every line below the header; `number` is the line a row begins on, the first line being 1.

    A record that does not fit the header costs its first line only: the lines after it are read
    again by themselves, so an unclosed quote cannot swallow them.
    """
    csv.field_size_limit(_MAX_FIELD_CHARS)
    columns, delimiter, header_lines = read_header(text, name)
    mapper = mapper_for(columns)
    lines = _Lines(text, header_lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin_record()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield lines.broken()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            continue
        if not any(fields):
            yield Row(lines.number, skipped=SkipReason.EMPTY, content=lines.text)
        elif len(fields) < len(columns) or any(fields[len(columns) :]):
            yield lines.broken()
        else:
            row = mapper.row(lines.number, dict(zip(columns, fields, strict=False)))
            yield row if row.skipped is None else replace(row, content=lines.text)


class _Lines:
    """The lines under a csv.reader: numbered, and given back when a record proves broken."""

    def __init__(self, text: io.TextIOBase, lines_before: int) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self._record: list[str] = []
        self.number = lines_before  # of the record's first line

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if len(self._record) >= _MAX_RECORD_LINES:
            raise csv.Error("a quote is never closed")
        line = self._again.popleft() if self._again else self._text.readline()
        if not line:
            raise StopIteration
        self._record.append(line)
        return line

    @property
    def text(self) -> str:
        return "".join(self._record).rstrip("\r\n")

    def begin_record(self) -> None:
        self.number += len(self._record) or 1
        self._record = []

    def broken(self) -> Row:
        """The record's first line as a skipped row; its other lines will be read again."""
        self._again.extendleft(reversed(self._record[1:]))
        del self._record[1:]
        return Row(self.number, skipped=SkipReason.BROKEN_LINE, content=self.text)
