"""Names the fault of a payload that its Struct refused. Off the hot path."""

import msgspec
from msgspec.inspect import (
    BoolType,
    DictType,
    Field,
    FloatType,
    IntType,
    RawType,
    StrType,
    StructType,
    Type,
    UnionType,
    type_info,
)

from ingest.decoders.faults import PayloadError, shown
from ingest.decoders.payload import read_any
from tracking.quality import Reject

_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def diagnose(raw: bytes | msgspec.Raw, struct: type[msgspec.Struct]) -> PayloadError:
    """Say why `raw` is no `struct`: the first fault in the order of the Struct's members.

    The rules are read off the Struct, so they are written down once.
    """
    try:
        value = read_any(raw)
    except PayloadError as fault:
        return fault
    if not isinstance(value, dict):
        return PayloadError(
            Reject.BAD_FIELD, f"{shown(value)} is {_KINDS[type(value)]}, not an object"
        )
    info = type_info(struct)
    assert isinstance(info, StructType)  # noqa: S101  -- for the type checker
    for member in info.fields:
        fault_or_none = _member_fault(member, value.get(member.encode_name))
        if fault_or_none is not None:
            return fault_or_none
    # A member given twice, say: the first was bad, the last is good.
    return PayloadError(Reject.BAD_FIELD, "a member is malformed or given twice")


def _member_fault(member: Field, value: object) -> PayloadError | None:
    name = member.encode_name
    if value is None:
        if member.required:
            return PayloadError(Reject.MISSING_FIELD, f"{name} is missing")
        return None
    options = member.type.types if isinstance(member.type, UnionType) else (member.type,)
    fitting = [option for option in options if _fits(option, value)]
    if not fitting:
        reason = Reject.BAD_TIME if name == "t" else Reject.BAD_FIELD
        return PayloadError(
            reason, f"{name} {shown(value)} is {_KINDS[type(value)]}, not {_wanted(options)}"
        )
    rule = fitting[0]
    if isinstance(rule, (IntType, FloatType)) and isinstance(value, (int, float)):
        return _range_fault(name, value, rule)
    return None


def _fits(option: Type, value: object) -> bool:
    if isinstance(option, FloatType):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(option, IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    wanted = {StrType: str, BoolType: bool, DictType: dict}.get(type(option))
    return isinstance(option, RawType) or (wanted is not None and isinstance(value, wanted))


def _wanted(options: tuple[Type, ...]) -> str:
    names = {
        IntType: "a whole number",
        FloatType: "a number",
        StrType: "text",
        BoolType: "true or false",
        DictType: "an object",
    }
    if any(isinstance(option, FloatType) for option in options):
        options = tuple(option for option in options if not isinstance(option, IntType))
    return " or ".join(names[type(option)] for option in options if type(option) in names)


def _range_fault(name: str, value: float, rule: IntType | FloatType) -> PayloadError | None:
    low, high = rule.ge, rule.le
    if (low is None or value >= low) and (high is None or value <= high):
        return None
    reason = Reject.COORDINATES_OUT_OF_RANGE if name in ("lon", "lat") else Reject.BAD_FIELD
    return PayloadError(reason, f"{name} {shown(value)} is outside {low:g}..{high:g}")
