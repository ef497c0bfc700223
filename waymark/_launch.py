"""Become one child of a lifeline: register, drop privileges, exec. Run as a script, never imported.

    python -I -S _launch.py FD STOP_SIGNAL GRACE_S UID GID PROGRAM [ARGUMENT...]

It registers before it becomes the program, while it still holds the pipe: whenever the parent
dies, the guard has either read the line or will read it before the pipe's end. UID -1 drops
nothing.
"""

import os
import sys


def main(arguments: list[str]) -> None:
    """Never returns: ends as another program, or with 127."""
    fd, stop_signal, grace_s, uid, gid = map(int, arguments[:5])
    program = arguments[5:]
    os.write(fd, f"{os.getpid()} {stop_signal} {grace_s}\n".encode())
    os.set_inheritable(fd, False)  # noqa: FBT003  -- its signature; closed by the exec below
    try:
        if uid >= 0:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        os.execv(program[0], program)  # noqa: S606  -- becoming the program is the purpose
    except OSError as exc:
        sys.stderr.write(f"cannot run {program[0]}: {exc.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
