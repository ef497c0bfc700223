"""What requests and answers about API keys look like, for the OpenAPI document."""

import msgspec

from api.examples.fleet import MORNING
from api.schemas.keys import KeyInput, MadeKey
from tracking.store.keys import ApiKey

API_KEY = ApiKey(
    id=7,
    name="order service",
    role="service",
    scopes=["events:read", "fences:write"],
    party=None,
    created_at=MORNING,
    expires_at=MORNING.replace(year=2027),
    last_used_at=None,
    revoked_at=None,
)
MADE_KEY = MadeKey(**msgspec.structs.asdict(API_KEY), key="wmk_" + "x" * 43)
KEY_INPUT = KeyInput(API_KEY.name, "service", API_KEY.scopes, API_KEY.expires_at)
