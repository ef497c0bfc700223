"""Keeps a Mosquitto's files in line with the devices' credentials."""

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tracking.broker_access import Foreign
from tracking.device_secrets import is_password
from tracking.errors import InputError
from tracking.feed import CREDENTIALS, Delivery, Subscriber
from tracking.mosquitto import MosquittoFiles, Service, mosquitto_files
from tracking.settings import Settings
from tracking.store.connection import Connection, connect, translated
from tracking.store.device_credentials import broker_users, credentials_mark
from tracking.store.persistence import Store

logger = logging.getLogger(__name__)

# A notice may be lost, and passwords end without one.
_LOOK_EVERY_S = 2.0
# A provisioning script issues hundreds in a row; each reload checks every client's password anew.
_GATHER_S = 0.25

# By the settings of Mosquitto they are for; see deploy/mosquitto/mosquitto.conf.
_NAMES = {
    "passwords": "device-passwords",
    "acl": "device-acl",
    "acl_certificates": "certificate-acl",
    "service_passwords": "service-passwords",
    "service_acl": "service-acl",
}


class BrokerFiles:
    """The files in one folder, and the broker that reads them."""

    def __init__(self, settings: Settings, folder: Path, pid_file: Path | None) -> None:
        self._database_url = settings.database_url.get_secret_value()
        self._redis_url = settings.redis_url.get_secret_value()
        self._foreign = Foreign.of(settings.formats, settings.foreign_tenant)
        self._service = _service(settings)
        self._folder = folder
        self._pid_file = pid_file
        self._changed = asyncio.Event()

    @property
    def names(self) -> list[str]:
        """What the files are called."""
        return list(_NAMES.values())

    async def write_once(self) -> None:
        """Write the files as they must be now, and have the broker read them.

        Raises:
            StoreUnavailable: the database is away.
            InputError: the folder cannot be written to.
        """
        conn = await connect(self._database_url, name="waymark-broker-files")
        try:
            with translated():
                await self._write(conn)
        finally:
            await conn.close()

    async def watch(self) -> None:
        """Write whenever credentials change, until SIGTERM or SIGINT; outlives the database.

        Raises:
            InputError: the folder cannot be written to.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        tasks = [
            asyncio.create_task(self._follow(), name="broker-files.follow"),
            asyncio.create_task(self._listen(), name="broker-files.listen"),
            asyncio.create_task(stopping.wait(), name="broker-files.stop"),
        ]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()

    async def _follow(self) -> None:
        written: tuple[int, int] | None = None
        async with Store(self._database_url, "waymark-broker-files") as store:
            while True:
                self._changed.clear()
                # Before the files: what changes while they are written is seen the next time.
                mark = await store.insist(credentials_mark)
                if mark != written:
                    await store.insist(self._write)
                    written = mark
                    logger.info("wrote %d credential(s) to %s", mark[0], self._folder)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await self._changed.wait()
                        await asyncio.sleep(_GATHER_S)

    async def _listen(self) -> None:
        async for received in Subscriber(self._redis_url, [CREDENTIALS]):
            if isinstance(received, Delivery):
                self._changed.set()

    async def _write(self, conn: Connection) -> None:
        users = [user async for user in broker_users(conn)]
        files = mosquitto_files(users, self._foreign, self._service)
        try:
            changed = [self._replace(name, getattr(files, name)) for name in MosquittoFiles._fields]
        except OSError as exc:
            raise InputError(
                f"cannot write to {self._folder}: {exc.strerror or exc}", field="out"
            ) from exc
        if any(changed):
            self._reload()

    def _replace(self, name: str, text: str) -> bool:
        """Put a file in place as a whole; whether that changed anything."""
        path = self._folder / _NAMES[name]
        if name == "service_passwords" and path.exists() and not self._is_new_service(path):
            return False
        if path.exists() and path.read_text() == text:
            return False
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=self._folder, prefix=f".{path.name}-", delete=False
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o640)
            if os.geteuid() == 0:
                # Whose the folder is may read what is in it.
                owner = self._folder.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        Path(file.name).replace(path)
        return True

    def _is_new_service(self, path: Path) -> bool:
        """Whether the file does not hold our own user, whose salt is another each time."""
        if self._service is None:
            return bool(path.read_text())
        username, _, line = path.read_text().strip().partition(":")
        return username != self._service.username or not is_password(self._service.password, line)

    def _reload(self) -> None:
        if self._pid_file is None:
            return
        try:
            os.kill(int(self._pid_file.read_text()), signal.SIGHUP)
        except (OSError, ValueError) as exc:
            # Starting, perhaps: then it reads the files anyway.
            logger.warning("no broker to reload by %s: %s", self._pid_file, exc)


def _service(settings: Settings) -> Service | None:
    url = urlsplit(settings.mqtt_url.get_secret_value())
    if not url.username or url.password is None:
        return None
    filters = tuple(settings.formats)
    return Service(unquote(url.username), unquote(url.password), filters)
