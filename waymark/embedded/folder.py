"""The one folder of an embedded stack: who holds it, who its servers run as, where sockets fit."""

import contextlib
import fcntl
import hashlib
import os
import pwd
import stat
import struct
import time
from pathlib import Path

from tracking.errors import InputError, WaymarkError
from waymark.lifeline import Identity

# The guard of a stack that was killed stops its servers before it lets go of the folder.
_HANDOVER_S = 40.0
# sun_path holds 108 bytes on Linux, 104 on macOS, the closing NUL included.
_SOCKET_PATH_BYTES = 103
# Whom PostgreSQL may run as when we are root, by preference; no user is added to the machine.
_SERVICE_USERS = ("postgres", "nobody")


class DataFolder:
    """A data folder held by this process until `release`.

    Raises:
        InputError: the folder cannot be made or written.
        WaymarkError: another process holds it; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise InputError(
                f"cannot keep data in {self.path}: {(exc.strerror or str(exc)).lower()}; "
                "choose a folder you may write to with --data-dir",
                field="data_dir",
            ) from exc
        try:
            self._hold()
        except BaseException:
            os.close(self.lock_fd)
            raise
        self.identity = self._identity()

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self.lock_fd)

    @property
    def mark(self) -> str:
        """A word on the command line of this folder's servers, and of no other process."""
        # The inode tells apart folders of one path in two containers that see each other.
        info = self.path.stat()
        name = f"{self.path}:{info.st_dev}:{info.st_ino}"
        return "waymark-" + hashlib.sha256(name.encode()).hexdigest()[:16]

    def own(self, name: str) -> Path:
        """Make a private subfolder for a server and give it to the user the servers run as."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.identity is not None:
            os.chown(folder, *self.identity)
        return folder

    def write(self, path: Path, text: str) -> None:
        """Write a file that only its owner and the servers' user may read."""
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)
        if self.identity is not None:
            os.chown(path, *self.identity)

    def socket(self, name: str) -> Path | None:
        """Return where to put a unix socket, or None where the path would be too long for one."""
        path = self.path / "run" / name
        return path if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES else None

    def _hold(self) -> None:
        deadline = time.monotonic() + _HANDOVER_S
        while True:
            try:
                fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = _holder(self.lock_fd)
                if _alive(holder) or time.monotonic() > deadline:
                    raise WaymarkError(
                        f"{self.path} is in use by process {holder}: stop it, or choose another "
                        "folder with --data-dir"
                    ) from None
                time.sleep(0.05)
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, f"{os.getpid()}\n".encode(), 0)

    def _identity(self) -> Identity | None:
        if os.geteuid() != 0:
            return None
        # Data made before keeps its owner, even if a preferred user has appeared since.
        for folder in (self.path / "postgres", self.path):
            if folder.exists() and (owner := folder.stat()).st_uid != 0:
                return Identity(owner.st_uid, owner.st_gid)
        for name in _SERVICE_USERS:
            with contextlib.suppress(KeyError):
                user = pwd.getpwnam(name)
                return Identity(user.pw_uid, user.pw_gid)
        raise WaymarkError(
            "PostgreSQL refuses to run as root and this machine has no user postgres or nobody: "
            "run waymark as an ordinary user"
        )


def held_by(path: Path) -> int | None:
    """Return the process that holds a data folder, or None when it is free."""
    try:
        with (path / "lock").open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(lock.fileno())
    except OSError:
        pass
    return None


def let_pass(identity: Identity, path: Path) -> None:
    """Let one user pass through closed folders above `path`, as root may.

    Root's home is closed to everyone (0700), and PostgreSQL refuses to run as root, so its files
    below that home would be out of its reach. The user gets an access list entry with the right
    to pass, not to list, and nobody else gets anything.

    Raises:
        WaymarkError: the file system keeps no access lists; the message says what to do.
    """
    for folder in path.parents:
        info = folder.stat()
        right = stat.S_IXUSR if info.st_uid == identity.uid else stat.S_IXOTH
        if info.st_mode & right:
            continue
        try:
            _grant_pass(folder, identity.uid, info.st_mode)
        except OSError as exc:
            raise WaymarkError(
                f"{folder} is closed to user {pwd.getpwuid(identity.uid).pw_name}, whom PostgreSQL "
                f"runs as because it refuses root: `chmod o+x {folder}`, move elsewhere, or run "
                "waymark as an ordinary user"
            ) from exc


_ACL = "system.posix_acl_access"
_ACL_ENTRY = struct.Struct("<HHI")  # tag, permissions, id; after a 4-byte version, 2
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NO_ID = 0xFFFFFFFF


def _grant_pass(folder: Path, uid: int, mode: int) -> None:
    """Add `user:UID:--x` to a folder's access list (the kernel's format, acl(5)); idempotent."""
    entries = {
        (_USER_OBJ, _NO_ID): mode >> 6 & 7,
        (_GROUP_OBJ, _NO_ID): mode >> 3 & 7,
        (_OTHER, _NO_ID): mode & 7,
    }
    with contextlib.suppress(OSError):  # none yet: the mode is the list
        raw = os.getxattr(folder, _ACL)
        entries = {(tag, who): perm for tag, perm, who in _ACL_ENTRY.iter_unpack(raw[4:])}
    entries[_USER, uid] = entries.get((_USER, uid), 0) | 1
    # The mask bounds every entry but owner and other; it must let ours through and add nothing.
    entries[_MASK, _NO_ID] = entries.get((_MASK, _NO_ID), entries[_GROUP_OBJ, _NO_ID]) | 1
    body = b"".join(_ACL_ENTRY.pack(tag, perm, who) for (tag, who), perm in sorted(entries.items()))
    os.setxattr(folder, _ACL, struct.pack("<I", 2) + body)


def _holder(lock_fd: int) -> int:
    with contextlib.suppress(ValueError):
        return int(os.pread(lock_fd, 20, 0))
    return 0


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
