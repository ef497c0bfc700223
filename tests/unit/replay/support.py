"""What the replay tests share: one file in, rows or messages out."""

import json
from pathlib import Path
from typing import Any

from waymark.replay.dispatch import RowSource, TableOptions
from waymark.replay.progress import Progress
from waymark.replay.reading import Row
from waymark.replay.session import Plan, Preview, Replay
from waymark.replay.source import Format, find, opened
from waymark.replay.tally import Tally

Message = dict[str, Any]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows_of(
    path: Path, options: TableOptions | None = None, file_format: Format | None = None
) -> list[Row]:
    found: list[Row] = []
    for recording in find([path], file_format):
        with opened(recording) as source:
            found.extend(RowSource(recording, options or TableOptions()).rows(source))
    return found


def replayed(
    path: Path, options: TableOptions | None = None, plan: Plan | None = None
) -> tuple[list[tuple[str, Message]], Tally]:
    """Every message (topic, payload) of a dry replay, and its tally."""
    preview = Preview(keep=10_000)
    run = Replay(
        find([path]),
        options or TableOptions(),
        plan or Plan(),
        preview,
        progress=Progress(shown=False),
    )
    run.check_headers()
    run.run()
    return [(topic, json.loads(payload)) for topic, payload in preview.messages], run.tally
