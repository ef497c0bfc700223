"""Every setting as a row: for the terminal, for JSON, and for the README."""

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import SecretStr

from tracking.settings import OidcProvider, Settings
from waymark.doctor.finding import without_password


class Row(NamedTuple):
    """One setting: its variable, the value in use with secrets masked, default and meaning."""

    variable: str
    value: str
    default: str
    meaning: str


def settings_rows(settings: Settings) -> list[Row]:
    """Return every setting in the order of its declaration."""
    return [
        Row(
            f"WAYMARK_{name.upper()}",
            _shown(getattr(settings, name)),
            _shown(field.default),
            field.description or "",
        )
        for name, field in type(settings).model_fields.items()
    ]


def markdown_table(rows: Iterable[Row]) -> str:
    """Return the table of defaults and meanings that the README shows."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in rows:
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.variable}` | {default} | {row.meaning} |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            url = value.get_secret_value()
            # What is no URL is secret as a whole.
            return without_password(url) if "://" in url else "***"
        case list() | tuple():
            return ",".join(map(_shown, value))
        case OidcProvider():
            return value.issuer
        case dict():
            return "{" + ", ".join(f'"{key}": "{item}"' for key, item in value.items()) + "}"
        case _:
            return without_password(str(value))
