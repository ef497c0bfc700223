"""The summary of a replay, for people."""

from collections.abc import Iterator, Mapping
from typing import Any

# More files than these (the 666 tracks of an archive, say) are summed up in one line.
_MOST_FILES = 12


def lines(summary: Mapping[str, Any], *, published: bool) -> Iterator[str]:
    """One line a fact; facts that are zero and need no saying are left out."""
    files = summary["files"]
    for file in files[:_MOST_FILES]:
        kind = " ".join(filter(None, (file["format"], file["mapping"])))
        yield (
            f"{file['file']} ({kind}): {file['rows']:,} rows, {file['readings']:,} readings, "
            f"{file['skipped']:,} skipped"
        )
    if len(files) > _MOST_FILES:
        yield f"... and {len(files) - _MOST_FILES:,} more files"
    yield _line("rows", f"{summary['rows']:,}, {summary['rows_skipped']:,} of them skipped")
    yield from _reasons("skipped", summary["skipped"])
    yield _line("readings", f"{summary['readings']:,} of {summary['devices']:,} devices")
    if published:
        seconds = summary["seconds"]
        rate = summary["published"] / max(seconds, 1e-3)
        yield _line("published", f"{summary['published']:,} in {seconds:.1f} s ({rate:,.0f}/s)")
    if summary["refused_by_broker"]:
        yield _line("broker refused", f"{summary['refused_by_broker']:,}: check its access rules")
    yield _line(
        "distinct",
        f"{summary['distinct_readings']:,} by device and time; {summary['exact_repeats']:,} exact "
        f"repeats, {summary['conflicts']:,} with other content",
    )
    yield from _reasons("will be rejected", summary["expected_rejects"])
    if summary["first_fix"]:
        yield _line("fixes", f"{summary['first_fix']} to {summary['last_fix']}")
    for notice in summary["notices"]:
        yield _line("note", notice)
    if summary["stopped"]:
        yield _line("stopped early", summary["stopped"])


def _reasons(what: str, counts: Mapping[str, int]) -> Iterator[str]:
    for reason, count in counts.items():
        yield _line(what, f"{count:,} {reason}")


def _line(what: str, text: str) -> str:
    return f"{what + ':':18}{text}"
