"""JSON that passes through as it came, with what is known of it for whoever describes it."""

from typing import Annotated

import msgspec

Object = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
ObjectOrNull = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["object", "null"]})]
