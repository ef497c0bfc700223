"""Ids in paths."""

from typing import Any

from fastapi import Path

from tracking.ids import ID


def in_path(noun: str, pattern: str = ID) -> Any:  # noqa: ANN401 -- as FastAPI has it
    """The id of a noun as a parameter of the path."""
    return Path(pattern=pattern, description=f"The {noun}'s id, chosen by whoever made it")
