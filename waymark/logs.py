"""One log line per record on stderr: time in UTC, level, logger, message, extras as key=value."""

import logging
import sys
import time

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z WARNING ingest.worker message action=retry delay_s=0.4`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  -- logging's
        """Return RFC 3339, in UTC, to the millisecond."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.msecs):03}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  -- logging's name
        """Join the line and what the caller passed as `extra`."""
        extras = [f"{key}={value}" for key, value in vars(record).items() if key not in _STANDARD]
        return " ".join((super().formatMessage(record), *extras))


def set_up_logging(level: str) -> None:
    """Log from `level` up to stderr; called once, by a process's entry point."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # A line per request: its callers tell what became of it.
    logging.getLogger("httpx").setLevel(max(logging.WARNING, logging.getLogger().level))
