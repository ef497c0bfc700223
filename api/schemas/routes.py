"""What the api takes and tells about planned routes and how they are followed."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api.conventions.problems import Problem
from tracking.route.follow import Progress
from tracking.route.line import Line
from tracking.route.polyline import decode, encode
from tracking.shipments import LINE_DIGITS, Limits, Route
from tracking.times import Moment

MAX_POINTS = 20_000
# A place takes at most twelve characters.
_MAX_TEXT = 12 * MAX_POINTS

Position = Annotated[list[float], Meta(min_length=2, max_length=4)]
Coordinates = Annotated[list[Position], Meta(min_length=2, max_length=MAX_POINTS)]
DetectM = Annotated[float, Meta(ge=20, le=20_000)]
ClearM = Annotated[float, Meta(ge=10, le=20_000)]
Count = Annotated[int, Meta(ge=1, le=50)]
Seconds = Annotated[float, Meta(ge=60, le=2_592_000)]
GraceSeconds = Annotated[float, Meta(ge=0, le=2_592_000)]


class LineInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A GeoJSON LineString (`type`, `coordinates`), or an encoded `polyline` of a `precision`."""

    type: Literal["LineString"] | None = None
    coordinates: Coordinates | None = None
    polyline: Annotated[str, Meta(max_length=_MAX_TEXT)] | None = None
    precision: Literal[5, 6] = 5


class RouteInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The planned way, and when it counts as left.

    Off it is who was further than `detect_m` beside it in `n` of the last `of_m` fixes, back who
    was within `clear_m` in as many.
    """

    line: LineInput
    detect_m: DetectM = 150.0
    clear_m: ClearM = 75.0
    n: Count = 3
    of_m: Count = 5


class LimitsInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """After how long each is trouble.

    Standing still on the way, being behind the end of a window, and staying behind the end of
    service.
    """

    stalled_after_s: Seconds = 1_800.0
    overdue_after_s: GraceSeconds = 3_600.0
    departure_grace_s: GraceSeconds = 900.0


class LineString(msgspec.Struct, frozen=True):
    """A line as GeoJSON has it, [lon, lat] to six digits."""

    type: Literal["LineString"]
    coordinates: list[tuple[float, float]]


class RouteView(msgspec.Struct, frozen=True):
    """A planned way, and where along it what is carried is.

    `progress_m` is metres from its beginning, `offset_m` those beside it, both as of the fix taken
    at `as_of`; null before it is picked up.
    """

    length_m: float
    detect_m: float
    clear_m: float
    n: int
    of_m: int
    progress_m: float | None
    offset_m: float | None
    off_route: bool
    as_of: Moment | None


class RouteDetail(RouteView, frozen=True, kw_only=True):
    """The same, with its line."""

    line: LineString


def route_of(given: RouteInput) -> Route:
    """The planned way somebody sent.

    Raises:
        Problem: 422, a member means nothing.
    """
    if given.clear_m > given.detect_m:
        raise _fault("route.clear_m", "it is more than `detect_m`")
    if given.n > given.of_m:
        raise _fault("route.n", "it is more than `of_m`")
    points = _points(given.line)
    text = encode(points, LINE_DIGITS)
    try:
        Line.of(decode(text, LINE_DIGITS))
    except ValueError as exc:
        raise _fault("route.line", str(exc)) from None
    return Route(text, given.detect_m, given.clear_m, given.n, given.of_m)


def limits_of(given: LimitsInput) -> Limits:
    """After how long each is trouble."""
    return msgspec.convert(given, Limits, from_attributes=True)


def route_view(route: Route, progress: Progress | None) -> RouteView:
    """A route as lists of shipments tell it."""
    return RouteView(
        length_m=round(route.line.length_m, 1),
        detect_m=route.detect_m,
        clear_m=route.clear_m,
        n=route.n,
        of_m=route.of_m,
        progress_m=None if progress is None else progress.progress_m,
        offset_m=None if progress is None else progress.offset_m,
        off_route=progress is not None and progress.off_route,
        as_of=None if progress is None else progress.as_of,
    )


def route_detail(route: Route, progress: Progress | None) -> RouteDetail:
    """A route with its line."""
    brief = msgspec.structs.asdict(route_view(route, progress))
    return RouteDetail(**brief, line=LineString("LineString", route.points))


def _points(given: LineInput) -> list[tuple[float, float]]:
    if (given.coordinates is None) == (given.polyline is None):
        raise _fault("route.line", "give a GeoJSON LineString or an encoded polyline")
    if given.polyline is None:
        if given.type is None:
            raise _fault("route.line.type", "it is missing: a GeoJSON LineString")
        where, points = "coordinates", [(p[0], p[1]) for p in given.coordinates or ()]
    else:
        where = "polyline"
        try:
            points = decode(given.polyline, given.precision)
        except ValueError as exc:
            raise _fault("route.line.polyline", str(exc)) from None
        if not 2 <= len(points) <= MAX_POINTS:
            raise _fault("route.line.polyline", f"2 to {MAX_POINTS:,} points, not {len(points):,}")
    for i, (lon, lat) in enumerate(points):
        if not (-180 <= lon <= 180 and -90 <= lat <= 90):
            raise _fault(f"route.line.{where}[{i}]", f"{lon:g}, {lat:g} is no lon, lat in degrees")
    return points


def _fault(field: str, detail: str) -> Problem:
    return Problem(422, f"{field}: {detail}", field=field)
