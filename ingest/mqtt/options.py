"""What a session needs to know, as plain values, and how `WAYMARK_MQTT_*` says it."""

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from tracking.errors import SettingsError
from tracking.settings import Settings

# Everything below our root, not only the channels we know: a message on a wrong topic then
# gets its reject reason instead of vanishing.
NATIVE_FILTER = "wm/#"

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_MAX_KEEPALIVE_S = 65_535  # two bytes in CONNECT


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Where to connect, as whom, and for what; `filters` are without the `$share` prefix."""

    host: str
    port: int
    client_id: str
    filters: tuple[str, ...]
    group: str | None = None
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    keepalive_s: int = 30
    window: int = 20_000
    max_payload_bytes: int = 1_048_576


def session_options(
    settings: Settings, index: int, *, filters: Iterable[str] | None = None
) -> SessionOptions:
    """Build the options of worker `index` (0, 1, ...) from the settings.

    `filters` defaults to the native topics and those of `settings.formats`. A client id from the
    settings gets `-<index>` appended from the second worker on: two sessions of one name would
    push each other out.

    Raises:
        SettingsError: naming the variable at fault; never showing the password.
    """
    url = _split(settings.mqtt_url.get_secret_value())
    if url.scheme != "mqtts" and any(
        (settings.mqtt_ca_file, settings.mqtt_cert_file, settings.mqtt_key_file)
    ):
        raise SettingsError(
            "WAYMARK_MQTT_URL: the certificate files only count for mqtts://; "
            "use mqtts:// or empty WAYMARK_MQTT_CA_FILE, _CERT_FILE and _KEY_FILE"
        )
    if url.password and not url.username:
        raise SettingsError("WAYMARK_MQTT_URL: a password needs a user name before it")
    chosen = (NATIVE_FILTER, *settings.formats) if filters is None else tuple(filters)
    return SessionOptions(
        host=url.hostname or "",
        port=url.port or _PORTS[url.scheme],
        client_id=_client_id(settings, index),
        filters=tuple(_checked(name) for name in chosen),
        group=_group(settings.mqtt_group),
        tls=_tls(settings) if url.scheme == "mqtts" else None,
        username=unquote(url.username) if url.username else None,
        password=None if url.password is None or not url.username else unquote(url.password),
        keepalive_s=min(settings.mqtt_keepalive_s, _MAX_KEEPALIVE_S),
        window=settings.mqtt_window,
        max_payload_bytes=settings.max_payload_bytes,
    )


def _split(text: str) -> SplitResult:
    expected = "use mqtt://[user:password@]host[:port] or mqtts://..."
    try:
        url = urlsplit(text)
        port_ok = url.port is None or url.port > 0
    except ValueError:
        # A slash, # or ? in a password ends up here, and its part in the error's text.
        raise SettingsError(
            f"WAYMARK_MQTT_URL cannot be read; {expected}, with special characters of the "
            "password percent-encoded"
        ) from None
    if url.scheme not in _PORTS:
        raise SettingsError(f"WAYMARK_MQTT_URL has the scheme {url.scheme or 'none'!r}; {expected}")
    if not url.hostname or not port_ok:
        raise SettingsError(f"WAYMARK_MQTT_URL names no host or port; {expected}")
    if url.path not in {"", "/"} or url.query or url.fragment:
        raise SettingsError(
            f"WAYMARK_MQTT_URL has something after the port; {expected}, with special characters "
            "of the password percent-encoded"
        )
    return url


def _client_id(settings: Settings, index: int) -> str:
    if settings.mqtt_client_id:
        return f"{settings.mqtt_client_id}-{index}" if index else settings.mqtt_client_id
    return f"waymark-{socket.gethostname()}-{index}"


def _group(group: str | None) -> str | None:
    if group and set("/+#\0") & set(group):
        raise SettingsError(f"WAYMARK_MQTT_GROUP: {group!r} must not contain /, + or #")
    return group or None


def _checked(name: str) -> str:
    """Return a topic filter, or say why it is none [4.7]."""
    levels = name.split("/")
    wildcard_ok = all(level in {"+", "#"} or not {"+", "#"} & set(level) for level in levels)
    if not name or "\0" in name or not wildcard_ok or "#" in levels[:-1]:
        raise SettingsError(
            f"WAYMARK_FORMATS: {name!r} is no MQTT topic filter; + and # stand for whole levels, "
            "and # comes last"
        )
    return name


def _tls(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.mqtt_ca_file or None)
    except (OSError, ssl.SSLError) as exc:
        raise SettingsError(
            f"WAYMARK_MQTT_CA_FILE: {settings.mqtt_ca_file} holds no readable PEM certificate "
            f"({exc.strerror or exc})"
        ) from exc
    if settings.mqtt_key_file and not settings.mqtt_cert_file:
        raise SettingsError("WAYMARK_MQTT_KEY_FILE needs WAYMARK_MQTT_CERT_FILE beside it")
    if settings.mqtt_cert_file:
        try:
            # The empty password keeps OpenSSL from asking on the terminal for an encrypted key.
            context.load_cert_chain(settings.mqtt_cert_file, settings.mqtt_key_file, password="")
        except (OSError, ssl.SSLError) as exc:
            raise SettingsError(
                f"WAYMARK_MQTT_CERT_FILE, WAYMARK_MQTT_KEY_FILE: {settings.mqtt_cert_file} and its "
                f"unencrypted key cannot be loaded ({exc.strerror or exc})"
            ) from exc
    return context
