"""Sets of H3 cells as fences: their outline."""

from h3.api import numpy_int as h3

from geofence.faults import ShapeError, at

# At their finest resolution; 97,741 of them took 0.13 s.
MAX_CELLS = 100_000


def outline_of(value: object, where: str, notes: list[str]) -> list[object]:
    """The coordinates, as of a GeoJSON MultiPolygon, of the outline of hexadecimal cells.

    Cells of several resolutions stand for their descendants at the finest, as compacted sets do.

    Raises:
        ShapeError: not a list of cells, or too many of them.
    """
    cells = _parsed(value, where)
    finest = max(map(h3.get_resolution, cells))
    count = sum(h3.cell_to_children_size(cell, finest) for cell in cells)
    if count > MAX_CELLS:
        raise ShapeError(f"{count:,} cells of resolution {finest}, at most {MAX_CELLS:,}", where)
    fine = {int(child) for cell in cells for child in h3.cell_to_children(cell, finest)}
    if len(fine) < count:
        notes.append(f"{where}: {count - len(fine):,} repeated cells dropped")
    # The outline of more would be taken for that of what they leave out.
    if 2 * len(fine) > h3.get_num_cells(finest):
        raise ShapeError("cells of more than half the Earth", where)
    parts = h3.cells_to_h3shape(list(fine), tight=False).polys
    return [
        [[(lon, lat) for lat, lon in ring] for ring in (part.outer, *part.holes)] for part in parts
    ]


def _parsed(value: object, where: str) -> list[int]:
    if not isinstance(value, list | tuple) or not value:
        raise ShapeError("no cells" if value in ([], ()) else "not a list of H3 cells", where)
    if len(value) > MAX_CELLS:
        raise ShapeError(f"{len(value):,} cells, at most {MAX_CELLS:,}", where)
    return [_cell(item, at(where, i)) for i, item in enumerate(value)]


def _cell(item: object, where: str) -> int:
    try:
        cell = int(item, 16) if isinstance(item, str) else 0
    except ValueError:
        cell = 0
    if not 0 < cell < 2**63 or not h3.is_valid_cell(cell):
        raise ShapeError(f"{str(item)[:40]!r} is not an H3 cell", where)
    return cell
