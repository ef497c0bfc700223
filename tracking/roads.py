"""Who knows the roads, as the settings name it. Pure."""

from typing import Literal, NamedTuple, get_args
from urllib.parse import urlsplit

RoadsKind = Literal["valhalla", "osrm", "valhalla-tiles"]
_KINDS: dict[str, RoadsKind] = {kind: kind for kind in get_args(RoadsKind)}


class RoadSource(NamedTuple):
    """A provider and where it is: a URL without a slash at its end, or a path."""

    kind: RoadsKind
    place: str


def road_source(text: str) -> RoadSource | None:
    """What `valhalla:URL`, `osrm:URL` or `valhalla-tiles:PATH` names; None for `none`.

    Raises:
        ValueError: It is none of them, and says what is wrong.
    """
    if text == "none":
        return None
    word, _, place = text.partition(":")
    kind = _KINDS.get(word)
    if kind is None:
        raise ValueError("give none, valhalla:URL, osrm:URL or valhalla-tiles:PATH")
    if kind == "valhalla-tiles":
        if not place:
            raise ValueError("give the folder or the .tar of the tiles behind valhalla-tiles:")
        return RoadSource(kind, place)
    url = urlsplit(place)
    # `port` is read for its fault: it is looked at no earlier.
    whole = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    if not whole or url.query or url.fragment:
        raise ValueError(f"give an http:// or https:// URL without a query behind {kind}:")
    return RoadSource(kind, place.rstrip("/"))
