"""Every error Waymark raises on purpose.

WaymarkError
 +-- SettingsError         a WAYMARK_* value is missing or wrong
 +-- StoreError            the database refused or went away
 |    +-- StoreUnavailable   transient: retry, do not acknowledge
 |    +-- StoreRefused       the values do not fit: the same batch cannot succeed
 |    +-- SchemaOutdated     run `waymark migrate`
 +-- ModelUnreadable       what was learned of arrivals is damaged, or newer than this program
 +-- FeedUnavailable       Redis is away: fan-out is skipped, nothing is lost
 +-- ProviderUnavailable   an OIDC provider is away and its keys were never read
 +-- RoadsUnavailable      whoever knows the roads did not answer: forecasts go by the detour
 +-- BrokerError           the MQTT broker refused the session
 +-- InputError            a user's file, cursor or argument is wrong; `field` names it
 +-- Conflict              what is asked contradicts what is there; `field` as above

Each carries what a caller needs and builds its own sentence. The command line prints
`str(error)` on one line and exits with 2; the api turns the last two into problem+json.
"""


class WaymarkError(Exception):
    """Base of all errors a caller may want to catch."""


class SettingsError(WaymarkError):
    """A setting is missing or has a value that cannot be used."""


class StoreError(WaymarkError):
    """The database refused a statement."""


class StoreUnavailable(StoreError):  # noqa: N818  -- a condition, not a mistake
    """The database is away or asked us to retry; the same work may succeed later."""


class StoreRefused(StoreError):  # noqa: N818  -- as above
    """The database refused the values themselves: retrying the same work cannot help."""


class SchemaOutdated(StoreError):  # noqa: N818  -- as above
    """The database lacks migrations this code needs."""

    def __init__(self, missing: list[str]) -> None:
        self.missing = missing
        super().__init__(
            f"the database lacks {len(missing)} migration(s), first {missing[0]}: "
            "run `waymark migrate`"
        )


class ModelUnreadable(WaymarkError):  # noqa: N818  -- as above
    """A saved model of arrivals cannot be read; the message says what to do."""


class FeedUnavailable(WaymarkError):  # noqa: N818  -- as above
    """Redis is away; consumers catch up from the database by cursor."""


class ProviderUnavailable(WaymarkError):  # noqa: N818  -- as above
    """An OIDC provider cannot be reached, so nobody can tell whether its token is whole."""

    def __init__(self, issuer: str) -> None:
        super().__init__(f"the identity provider {issuer} cannot be reached: try again")


class RoadsUnavailable(WaymarkError):  # noqa: N818  -- as above
    """Whoever knows the roads did not answer, or not to the point."""


class BrokerError(WaymarkError):
    """The MQTT broker refused the connection, the credentials or the subscription."""


class InputError(WaymarkError):
    """Something a user gave is wrong.

    `field` names the argument, column or JSON member at fault; None when it is the whole input.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        self.field = field
        super().__init__(message)


class Conflict(WaymarkError):  # noqa: N818 -- as above
    """What is asked is well formed, and contradicts what is there; the message says what."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        self.field = field
        super().__init__(message)
