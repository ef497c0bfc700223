"""What is wrong with a shape, and where."""


class ShapeError(ValueError):
    """A shape that cannot be a fence. `field` is the place, such as `shape.coordinates[0][3]`."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class NoAreaError(ShapeError):
    """A ring or polygon that encloses nothing: as one of several it can be left out."""


def at(where: str, part: str | int) -> str:
    """The field `part` of `where`: a name after a dot, a number in brackets."""
    if isinstance(part, int):
        return f"{where}[{part}]"
    return f"{where}.{part}" if where else part
