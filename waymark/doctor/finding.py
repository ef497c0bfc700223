"""What a check reports, and the constants the checks share."""

import re
from typing import Literal, NamedTuple

# Long enough for a server on another continent, short enough to wait for three in a row.
TIMEOUT_S = 5.0
_PASSWORD = re.compile(r"(://[^:@/?]*:).*(?=@)|(password=)[^&]*")

Verdict = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One thing looked at: what was found, and what to do unless all is well."""

    server: str
    what: str
    verdict: Verdict
    found: str
    advice: str = ""


def without_password(url: str) -> str:
    """Return a URL that may be shown."""
    return _PASSWORD.sub(r"\1\2***", url)


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line and never empty."""
    return " ".join(str(error).split()) or type(error).__name__
