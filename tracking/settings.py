"""Every setting, typed, documented once, read once.

`Settings` is built in a process's entry point and passed down; nothing below reads the
environment. README's table is generated from here (`waymark doctor --markdown`).
"""

from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as NotJsonError

from tracking.access import Role
from tracking.errors import SettingsError
from tracking.roads import road_source


class OidcProvider(BaseModel):
    """Whose tokens are taken besides our own, and what they stand for here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(pattern=r"^(https://|http://(localhost|127\.0\.0\.1|\[::1\])(:|/|$))")
    audience: str = Field(min_length=1)
    tenant: str | None = None
    tenant_claim: str | None = None
    role_claim: str | None = None
    roles: dict[str, Role] = {}
    default_role: Role | None = None
    name_claims: tuple[str, ...] = ("email", "preferred_username", "sub")

    @model_validator(mode="after")
    def _says_whose(self) -> Self:
        if (self.tenant is None) is (self.tenant_claim is None):
            raise ValueError("give tenant, or tenant_claim")
        if (self.role_claim is None) is bool(self.roles):
            raise ValueError("give role_claim and roles together")
        if self.role_claim is None and self.default_role is None:
            raise ValueError("give role_claim and roles, or default_role: else nobody is let in")
        return self


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


# Written with commas in the environment.
Words = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Numbers = Annotated[list[int], NoDecode, BeforeValidator(_split)]


def _networks(words: list[str]) -> list[str]:
    for word in words:
        ip_network(word)
    return words


def _roads(text: str) -> str:
    road_source(text)
    return text


class Settings(BaseSettings):
    """One process's configuration, from `WAYMARK_*` variables; frozen."""

    model_config = SettingsConfigDict(env_prefix="WAYMARK_", frozen=True, extra="forbid")

    database_url: SecretStr = Field(
        SecretStr("postgresql://localhost/waymark"), description="PostgreSQL, as a libpq URL"
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"),
        description="Redis or Valkey, for fan-out; `unix://` works too",
    )
    mqtt_url: SecretStr = Field(
        SecretStr("mqtt://localhost:1883"),
        description="Broker: `mqtt://` or `mqtts://`, user and password in the URL",
    )
    mqtt_ca_file: str | None = Field(None, description="CA bundle for `mqtts://`, PEM")
    mqtt_cert_file: str | None = Field(None, description="Client certificate for `mqtts://`, PEM")
    mqtt_key_file: str | None = Field(None, description="Client key for `mqtts://`, PEM")
    mqtt_client_id: str | None = Field(
        None,
        description="Session name, one per worker, stable over restarts; default "
        "`waymark-<host>-<index>`",
    )
    mqtt_group: str = Field(
        "",
        description="Shared subscription group, for brokers that keep it over a restart (EMQX, "
        "HiveMQ; not Mosquitto)",
    )
    workers: int = Field(
        1, ge=1, description="Ingest workers that divide the devices; with a group, leave it at 1"
    )
    mqtt_window: int = Field(
        40_000,
        ge=1,
        le=65_535,
        description="Messages received and not yet acknowledged, per worker",
    )
    mqtt_keepalive_s: int = Field(30, ge=5, description="MQTT keep-alive")
    formats: dict[str, str] = Field(
        {"owntracks/#": "owntracks"},
        description="Foreign topic filters and their decoder, as JSON",
    )
    foreign_tenant: str = Field("default", description="Tenant of messages on foreign topics")
    broker_tenant: str = Field(
        "",
        description="Tenant whose API keys with the scope `broker:read` may ask about the devices "
        "of every tenant; else a key asks about its own tenant's",
    )
    unknown_devices: Literal["register", "reject"] = Field(
        "register", description="First message of an unknown device: register it or dead-letter it"
    )
    batch_max: int = Field(5_000, ge=1, description="Readings per transaction, at most")
    batch_age_ms: float = Field(
        20, ge=0, description="Oldest a reading may grow before its transaction starts, ms"
    )
    max_payload_bytes: int = Field(
        1_048_576, ge=1_024, description="Larger payloads are dead-lettered as too_large, bytes"
    )
    late_horizon_h: float = Field(
        72, gt=0, description="Fixes later than this behind their device are stored as stale, h"
    )
    max_future_s: float = Field(
        300, ge=0, description="Fixes further ahead of our clock are stored as future, s"
    )
    max_speed_mps: float = Field(70, gt=0, description="Faster steps are impossible_speed, m/s")
    max_accuracy_m: float = Field(
        1_000, gt=0, description="Fixes reported less accurate are stored as inaccurate, m"
    )
    silent_after_s: float = Field(
        900, gt=0, description="A device heard before and quiet for this long is silent, s"
    )
    roads: Annotated[str, AfterValidator(_roads)] = Field(
        "none",
        description="Who knows the roads, for forecasts: `none`, `valhalla:URL`, `osrm:URL` or "
        "`valhalla-tiles:PATH`; docs/roads.md",
    )
    roads_costing: Literal["auto", "truck"] = Field(
        "auto", description="What Valhalla takes to be driving"
    )
    roads_per_s: float = Field(
        10, gt=0, description="Questions about roads that each monitor asks per second, at most"
    )
    eta_train_every_s: float = Field(
        900,
        ge=0,
        description="The monitor learns of arrivals from new trips this often, s; 0: never",
    )
    retention_days: int = Field(
        0, ge=0, description="Readings older are dropped, days; 0 keeps everything"
    )
    forecast_days: int = Field(
        90, ge=1, description="Forecasts of arrival are kept for this long, days"
    )
    compress_after_days: int = Field(
        7, ge=1, description="TimescaleDB compresses chunks older than this, days"
    )
    http_host: str = Field("127.0.0.1", description="Address the api listens on")
    http_port: int = Field(8080, ge=0, le=65_535, description="Port of the api; 0 picks one")
    grpc_port: int = Field(
        0, ge=0, le=65_535, description="Port of the gRPC service, at the api's address; 0 is off"
    )
    cors_origins: Words = Field(
        [], description="Origins allowed to call the api from a browser, comma-separated"
    )
    trusted_proxies: Annotated[Words, AfterValidator(_networks)] = Field(
        [],
        description="Addresses and networks whose `X-Forwarded-For` and `-Proto` are believed, "
        "comma-separated",
    )
    hsts_max_age_s: int = Field(
        0, ge=0, description="Behind TLS: browsers insist on it for so long, s; 0 is off"
    )
    rate_credential_per_min: int = Field(
        6_000, ge=0, description="Requests per minute of one user or API key; 0 is off"
    )
    rate_address_per_min: int = Field(
        12_000, ge=0, description="Requests per minute from one address; 0 is off"
    )
    rate_failed_per_min: int = Field(
        30, ge=0, description="Wrong credentials per minute from one address; 0 is off"
    )
    map_style_url: str | None = Field(
        None, description="MapLibre style for streets; without it the map draws a plain canvas"
    )
    secret_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="Seals signing keys and second factors, 32 characters or more; without it "
        "nobody signs in by password",
    )
    oidc: tuple[OidcProvider, ...] = Field(
        (), description="OIDC providers whose tokens are taken, as JSON; docs/identity.md"
    )
    webhook_allow_nets: Words = Field(
        [],
        description="Networks that webhooks may reach although they are private, as CIDRs, "
        "comma-separated",
    )
    webhook_ports: Numbers = Field(
        [443, 8443], description="Ports that webhooks may use, comma-separated; empty: all"
    )
    webhook_http: bool = Field(
        default=False, description="Whether webhooks may use plain `http://`"
    )
    webhook_log_days: int = Field(
        7, ge=1, description="What was delivered is listed for this long, days"
    )
    channels: Words = Field(
        [],
        description="Apprise schemas that channels may use, as `mailtos,slack`; none: off",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65_535,
        description="Port of /metrics of ingest, monitor and deliver; 0 is off. On the embedded "
        "stack each has the next one, in this order",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log line written"
    )


def load_settings(**overrides: object) -> Settings:
    """Read `WAYMARK_*`, with `overrides` on top.

    Raises:
        SettingsError: naming each variable at fault, on one line.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks the values
    except ValidationError as exc:
        faults = "; ".join(
            f"WAYMARK_{'_'.join(str(part) for part in e['loc']).upper()}: {e['msg']}"
            for e in exc.errors()
        )
        raise SettingsError(faults) from exc
    except NotJsonError as exc:
        # "error parsing value for field "oidc" from source ..."
        named = str(exc).partition('"')[2].partition('"')[0]
        raise SettingsError(f"WAYMARK_{named.upper()}: it is not JSON") from exc
