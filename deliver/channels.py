"""Email, chat and push by Apprise: events in words, to whatever a channel's URL names.

Apprise opens its own connections, in threads of ours, and a URL may name any host. So Python
itself is told, by an audit hook that nothing can remove, to refuse every connection off the main
thread to what webhooks may not reach either, and every program that would be started there.
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deliver.line import Outcome
from deliver.sender import printable
from tracking.egress import Egress
from tracking.errors import SettingsError
from tracking.webhooks import Letter, Secrets, Webhook, channel_fault
from tracking.wording import TEXT, TITLE, rendered

_THREADS = 32
# Apprise's own limits are 4 s to connect and 4 s to read.
_TIMEOUT_S = 30.0
_CONNECTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"}


class Channels:
    """Sends letters to channels. One per process: what it forbids stays forbidden.

    Raises:
        SettingsError: channels are on, but Apprise is not installed.
    """

    def __init__(self, schemas: Iterable[str], egress: Egress) -> None:
        try:
            import apprise  # noqa: PLC0415 -- an extra, and slow to import
        except ImportError as exc:
            raise SettingsError(
                "WAYMARK_CHANNELS is set, but Apprise is missing: pip install 'waymark[channels]'"
            ) from exc
        self._apprise = apprise
        self._asset = apprise.AppriseAsset(app_id="Waymark", async_mode=False, secure_logging=True)
        self._schemas = frozenset(schemas)
        self._threads = ThreadPoolExecutor(_THREADS, "channel")
        self._complaints = _Complaints()
        logger = logging.getLogger("apprise")
        logger.addHandler(self._complaints)
        logger.propagate = False
        # Mail and the like have ports of their own.
        self._refusals = _forbid(egress._replace(ports=frozenset()))

    async def send(self, webhook: Webhook, secrets: Secrets, letter: Letter) -> Outcome:
        """Send a letter once, in words. Never raises for what the other side does."""
        started = time.time_ns()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                error = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._notify, webhook, secrets.url or "", letter
                )
        except TimeoutError:
            error = f"no answer within {_TIMEOUT_S:.0f} s"
        latency_ms = (time.time_ns() - started) // 1_000_000
        return Outcome(started // 1_000, ok=error is None, latency_ms=latency_ms, error=error)

    def _notify(self, webhook: Webhook, url: str, letter: Letter) -> str | None:
        """Why it could not be sent; None if it was."""
        fault = channel_fault(url, self._schemas)
        if fault is not None:
            return fault
        title = rendered(webhook.title or TITLE, letter.record, webhook.time_zone)
        text = rendered(webhook.text or TEXT, letter.record, webhook.time_zone)
        thread = threading.get_ident()
        self._complaints.take()
        self._refusals.pop(thread, None)
        target = self._apprise.Apprise.instantiate(url, asset=self._asset)
        if target is None:
            return "Apprise does not understand this URL"
        if target.notify(body=text, title=title):
            return None
        return self._refusals.get(thread) or self._complaints.take() or "it was refused"


class _Complaints(logging.Handler):
    """What Apprise logged last, by thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._last[threading.get_ident()] = printable(record.getMessage())

    def take(self) -> str | None:
        return self._last.pop(threading.get_ident(), None)


def _forbid(egress: Egress) -> dict[int, str]:
    """Have every thread but the main one, which is ours alone, reach only what `egress` permits.

    Returns what will be each thread's last refusal.
    """
    refusals: dict[int, str] = {}

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in _CONNECTS and event not in _STARTS:
            return
        if threading.current_thread() is threading.main_thread():
            return
        refusal = _refusal(egress, event, args)
        if refusal is not None:
            refusals[threading.get_ident()] = refusal
            raise PermissionError(refusal)

    sys.addaudithook(hook)
    return refusals


def _refusal(egress: Egress, event: str, args: tuple[Any, ...]) -> str | None:
    if event in _STARTS:
        return "channels start no programs"
    address = args[1]
    # None: connected before, under the eyes of the hook.
    if address is None:
        return None
    if not isinstance(address, tuple):
        return "channels have no business on this machine"
    return egress.refusal(str(address[0]), int(address[1]))
