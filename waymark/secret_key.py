"""The secret key of a data folder: made once, and read by its owner alone."""

import contextlib
import os
import secrets
from pathlib import Path

_FILE = "secret_key"


def secret_key_of(data_dir: Path) -> str | None:
    """The folder's key, None if none was made."""
    try:
        return (data_dir / _FILE).read_text().strip() or None
    except OSError:
        return None


def made_secret_key(data_dir: Path) -> str:
    """The folder's key, made when there is none."""
    draft = data_dir / f"{_FILE}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48) + "\n")
    # Linked, so that it is there whole or not at all, and one that is there stays.
    with contextlib.suppress(FileExistsError):
        (data_dir / _FILE).hardlink_to(draft)
    draft.unlink()
    return (data_dir / _FILE).read_text().strip()
