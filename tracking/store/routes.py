"""Routes as they are followed: which shipments have new fixes, how far each was read, what came."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from tracking.custody import FOR_EVER_US
from tracking.route.course import BEFORE_ALL, Course, Key, News, Part, Span, replanned, rewound
from tracking.route.follow import Fix, Transition, progress_of
from tracking.shipments import Plan, Way
from tracking.store.arrays import Blobs, Bools, Int4s, Int8s, Texts, Times
from tracking.store.connection import Connection
from tracking.store.custody import moment
from tracking.times import from_us, to_us

_courses = msgspec.msgpack.Decoder(Course)
_plans = msgspec.json.Decoder(Plan)
_transitions = msgspec.json.Decoder(tuple[Transition, ...])

# Between two looks at one that had news; many fixes then cost one look.
_LOOK_EVERY = "8 seconds"
# Fixes read at once, shared among the parts, and how many of each at least; 40 us of work each.
_FIXES_AT_ONCE, _PAGE_MIN = 10_000, 20

# Both rows or none: a derivation has the shipment first and then the route, and is not waited for.
# What is long is read of those taken alone; to sort all that are due with it took seconds.
_TAKE = """
SELECT r.shipment_number FROM shipment_route r JOIN shipment s ON s.number = r.shipment_number
WHERE r.open AND r.next_at <= now() AND (r.rewind_at IS NOT NULL OR EXISTS (
    SELECT FROM shipment_route_part p JOIN device_state d ON d.device_id = p.device_id
    WHERE p.shipment_number = r.shipment_number AND least(d.fix_time, p.ends) > p.seen_at))
ORDER BY r.next_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""

_TAKEN = """
SELECT shipment_number, way, course, rewind_at, transitions::text FROM shipment_route
WHERE shipment_number = ANY(%s) ORDER BY shipment_number
"""

_PARTS = """
SELECT p.shipment_number, p.device_id, p.starts, p.ends, p.seen_at, p.seen_seq, d.fix_time, d.seq
FROM shipment_route_part p LEFT JOIN device_state d ON d.device_id = p.device_id
WHERE p.shipment_number = ANY(%s) ORDER BY p.shipment_number, p.n
"""

_FIXES = """
SELECT u.i, p.fix_time, p.seq, d.name, p.lon, p.lat, p.accuracy_m
FROM unnest(%s, %s, %s, %s) WITH ORDINALITY u(device, stop, seen_at, seen_seq, i)
JOIN device d ON d.id = u.device
CROSS JOIN LATERAL (
    SELECT * FROM position p WHERE p.device_id = u.device AND p.quality = 0
        AND p.fix_time >= u.seen_at AND (p.fix_time, p.seq) > (u.seen_at, u.seen_seq)
        AND p.fix_time < u.stop
    ORDER BY p.fix_time, p.seq LIMIT %s) p
ORDER BY u.i, p.fix_time, p.seq
"""

_SAVE = f"""
UPDATE shipment_route r SET course = u.course, rewind_at = NULL, open = u.open,
    next_at = CASE WHEN u.whole THEN now() + interval '{_LOOK_EVERY}' ELSE now() END,
    progress = CASE WHEN u.whole THEN u.progress::jsonb ELSE r.progress END,
    transitions = CASE WHEN u.changed THEN u.transitions::jsonb ELSE r.transitions END
FROM unnest(%s, %s, %s, %s, %s, %s, %s)
    u(number, course, open, whole, progress, changed, transitions)
WHERE r.shipment_number = u.number
"""  # noqa: S608 -- of a constant

_SAVE_PARTS = """
UPDATE shipment_route_part p SET seen_at = u.seen_at, seen_seq = u.seen_seq
FROM unnest(%s, %s, %s, %s) u(number, n, seen_at, seen_seq)
WHERE p.shipment_number = u.number AND p.n = u.n
"""

# In the order in which derivations take them: shipments, then routes. Whoever holds a route now may
# have read what a repair changed; having waited for them, it makes them go back in any case.
_CARRIED = """
SELECT number FROM shipment WHERE devices @> ARRAY[%(device_id)s::bigint] AND status <> 'planned'
    AND (status NOT IN ('delivered', 'cancelled')
        OR (record ->> 'since')::timestamptz >= %(since)s)
ORDER BY number FOR NO KEY UPDATE
"""
_MARK = "UPDATE shipment SET dirty = true WHERE number = ANY(%(numbers)s)"
_LOCK = """
SELECT shipment_number FROM shipment_route WHERE shipment_number = ANY(%(numbers)s)
ORDER BY shipment_number FOR NO KEY UPDATE
"""
_REWIND = """
UPDATE shipment_route r SET rewind_at = least(rewind_at, %(since)s), open = true
WHERE shipment_number = ANY(%(numbers)s) AND EXISTS (SELECT FROM shipment_route_part p
    WHERE p.shipment_number = r.shipment_number AND p.device_id = %(device_id)s
    AND p.ends > %(since)s)
"""


class Taken(NamedTuple):
    """A shipment whose route is followed by the caller until the commit; `told` is what was.

    `digest` is that of the way that is followed. `rewound` tells that the course is not the one
    that is kept.
    """

    number: int
    digest: str
    course: Course
    told: tuple[Transition, ...]
    rewound: bool


class Followed(NamedTuple):
    """How far it was followed, and whether that was all there was."""

    taken: Taken
    course: Course
    whole: bool

    @property
    def changed(self) -> bool:
        """Whether what is told of it is to change."""
        return self.whole and self.course.transitions != self.taken.told


async def take_routes(conn: Connection, limit: int) -> list[tuple[Taken, list[News]]]:
    """Shipments with news that nobody else looks at, and the news; none: nothing waits."""
    found = await conn.execute(_TAKE, (limit,))
    numbers = [row[0] for row in await found.fetchall()]
    if not numbers:
        return []
    found = await conn.execute(_TAKEN, (numbers,))
    rows = await found.fetchall()
    # What their devices had by then is read first: whatever it counts is there to be read.
    parts, heads = await _parts(conn, numbers)
    taken: list[Taken] = []
    for number, digest, stored, rewind_at, told in rows:
        course = _course(stored, parts[number])
        if rewind_at is not None:
            course = rewound(course, to_us(rewind_at))
        known = _transitions.decode(told)
        taken.append(Taken(number, digest, course, known, rewind_at is not None))
    return list(zip(taken, await _news(conn, [one.course for one in taken], heads), strict=True))


async def ways_of(conn: Connection, numbers: Sequence[int]) -> dict[str, Way]:
    """The ways of shipments by their digests, as they are planned now."""
    found = await conn.execute(
        "SELECT plan::text FROM shipment WHERE number = ANY(%s)", (list(numbers),)
    )
    ways = [_plans.decode(plan).way async for (plan,) in found]
    return {_digest(way): way for way in ways if way is not None}


async def save_courses(conn: Connection, followed: Sequence[Followed]) -> None:
    """Keep how far routes were followed, and have those derived anew that are told otherwise now.

    What is told of one changes once all was read.
    """
    if not followed:
        return
    courses = [one.course for one in followed]
    changed = [one.changed for one in followed]
    encoded = msgspec.json.encode
    await conn.execute(
        _SAVE,
        (
            Int8s([one.taken.number for one in followed]),
            Blobs(list(map(_dumped, courses))),
            Bools([not (one.whole and one.course.closed) for one in followed]),
            Bools([one.whole for one in followed]),
            Texts([encoded(progress_of(course.now.state)) for course in courses]),
            Bools(changed),
            Texts([encoded(one.course.transitions) if one.changed else None for one in followed]),
        ),
    )
    moved = [
        (one.taken.number, n, to_us(moment(part.seen[0])), part.seen[1])
        for one in followed
        for n, part in enumerate(one.course.parts)
        if part != one.taken.course.parts[n] or one.taken.rewound
    ]
    if moved:
        of, n, seen_us, seq = zip(*moved, strict=True)
        await conn.execute(_SAVE_PARTS, (Int8s(of), Int4s(n), Times(seen_us), Int8s(seq)))
    if any(changed):
        numbers = [one.taken.number for one in followed if one.changed]
        await conn.execute(_MARK, {"numbers": numbers})


async def put_off(conn: Connection, number: int, for_s: float) -> None:
    """Leave a route that cannot be followed alone for so long."""
    await conn.execute(
        "UPDATE shipment_route SET next_at = now() + make_interval(secs => %s) "
        "WHERE shipment_number = %s",
        (for_s, number),
    )


async def rewind_routes(conn: Connection, device_id: int, since_us: int) -> None:
    """Note that a device's fixes changed from a moment on: all it carried then is looked at anew.

    Not behind the writing of events: a derivation takes its shipments first.
    """
    values: dict[str, object] = {"device_id": device_id, "since": from_us(max(since_us, 0))}
    found = await conn.execute(_CARRIED, values)
    values["numbers"] = numbers = [row[0] for row in await found.fetchall()]
    if numbers:
        await conn.execute(_MARK, values)
        await conn.execute(_LOCK, values)
        await conn.execute(_REWIND, values)


async def transitions_of(
    conn: Connection, numbers: Sequence[int]
) -> dict[int, tuple[Transition, ...]]:
    """By shipment, how it left its route and came back, as far as that is known."""
    found = await conn.execute(
        "SELECT shipment_number, transitions::text FROM shipment_route "
        "WHERE shipment_number = ANY(%s)",
        (list(numbers),),
    )
    return {number: _transitions.decode(told) async for number, told in found}


async def plan_courses(
    conn: Connection, tenant_id: int, wanted: Mapping[int, tuple[Way, Sequence[Span]] | None]
) -> None:
    """Have these shipments followed along these routes by what carries each; None: not at all.

    The shipments' rows are the caller's. Where nothing is new nothing is written.
    """
    numbers = sorted(wanted)
    found = await conn.execute(
        "SELECT shipment_number, way, course FROM shipment_route WHERE shipment_number = ANY(%s) "
        "ORDER BY shipment_number FOR NO KEY UPDATE",
        (numbers,),
    )
    known = {number: (way, course) async for number, way, course in found}
    parts, _ = await _parts(conn, list(known))
    for number in numbers:
        want = wanted[number]
        if want is None:
            if number in known:
                await conn.execute(
                    "DELETE FROM shipment_route WHERE shipment_number = %s", (number,)
                )
            continue
        way, spans = want
        digest, before = _digest(way), None
        if number in known and known[number][0] == digest:
            before = _course(known[number][1], parts[number])
        course = Course.of(spans) if before is None else replanned(before, spans)
        if course != before:
            await _put_course(conn, tenant_id, number, digest, course)


async def _put_course(
    conn: Connection, tenant_id: int, number: int, digest: str, course: Course
) -> None:
    await conn.execute(
        "INSERT INTO shipment_route (shipment_number, tenant_id, way, course, rewind_at) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (shipment_number) DO UPDATE SET "
        "way = excluded.way, course = excluded.course, next_at = now(), open = true, "
        "rewind_at = least(shipment_route.rewind_at, excluded.rewind_at)",
        # Nothing to go back to, but to be looked at even without a new fix.
        (number, tenant_id, digest, _dumped(course), moment(FOR_EVER_US)),
    )
    await conn.execute("DELETE FROM shipment_route_part WHERE shipment_number = %s", (number,))
    rows = [
        (number, n, tenant_id, part.device_id, from_us(max(part.from_us, 0)), moment(part.to_us),
         moment(max(part.seen[0], 0)), part.seen[1])
        for n, part in enumerate(course.parts)
    ]  # fmt: skip
    async with conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO shipment_route_part (shipment_number, n, tenant_id, device_id, starts, "
            "ends, seen_at, seen_seq) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )


async def _parts(
    conn: Connection, numbers: Sequence[int]
) -> tuple[dict[int, list[Part]], dict[int, Key]]:
    """The parts of routes, and the keys of their devices' last fixes."""
    parts: dict[int, list[Part]] = defaultdict(list)
    heads: dict[int, Key] = {}
    if not numbers:
        return parts, heads
    found = await conn.execute(_PARTS, (list(numbers),))
    async for number, device, starts, ends, seen_at, seen_seq, fix_time, seq in found:
        part = Part(device, to_us(starts), _ending(ends), (to_us(seen_at), seen_seq))
        parts[number].append(part)
        heads[device] = BEFORE_ALL if fix_time is None else (to_us(fix_time), seq)
    return parts, heads


async def _news(
    conn: Connection, courses: Sequence[Course], heads: Mapping[int, Key]
) -> list[list[News]]:
    """By course and part, the ok fixes behind those taken up."""
    parts = [part for course in courses for part in course.parts]
    fixes: list[list[Fix]] = [[] for _ in parts]
    page = max(_PAGE_MIN, _FIXES_AT_ONCE // max(len(parts), 1))
    if parts:
        found = await conn.execute(
            _FIXES,
            (
                Int8s([part.device_id for part in parts]),
                Times([to_us(moment(part.to_us)) for part in parts]),
                Times([part.seen[0] for part in parts]),
                Int8s([part.seen[1] for part in parts]),
                page,
            ),
        )
        async for i, fix_time, seq, device, lon, lat, accuracy_m in found:
            fixes[i - 1].append(Fix(to_us(fix_time), seq, device, lon, lat, accuracy_m))
    all_ = iter(
        News(of_part, heads[part.device_id], len(of_part) < page)
        for part, of_part in zip(parts, fixes, strict=True)
    )
    return [[next(all_) for _ in course.parts] for course in courses]


def _ending(ends: datetime) -> int:
    return FOR_EVER_US if ends == moment(FOR_EVER_US) else to_us(ends)


def _course(stored: bytes, parts: Sequence[Part]) -> Course:
    """What was kept of a fold; one that an older version kept otherwise begins anew."""
    try:
        return msgspec.structs.replace(_courses.decode(stored), parts=tuple(parts))
    except msgspec.DecodeError:
        return Course.of([part.span for part in parts])


def _dumped(course: Course) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(course, parts=()))


def _digest(way: Way) -> str:
    return blake2b(msgspec.json.encode(way), digest_size=16).hexdigest()
