"""Outlive a parent only to stop its children. Run as a script, never imported.

    python -I -S _guard.py FD

FD is the read end of the lifeline. Each child registers itself there with a line of process id,
stop signal and grace in seconds. The pipe ends when the parent is gone, however it went; then
every child still there gets its stop signal, and after its grace SIGKILL. Locks inherited from
the parent stay held until that is done.
"""

import os
import select
import signal
import sys
import time


class Ward:
    """One registered child; a pidfd names it even if its number is given to somebody else."""

    def __init__(self, pid: int, stop_signal: int, grace_s: int) -> None:
        self.pid = pid
        self.stop_signal = stop_signal
        self.grace_s = grace_s
        try:
            self.pidfd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self.pidfd = -1

    def alive(self) -> bool:
        if self.pidfd >= 0:
            return not select.select([self.pidfd], [], [], 0)[0]
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def send(self, number: int) -> None:
        try:
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)


def main(fd: int) -> None:
    """Return when the parent is gone and so are its children."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever signals the whole group means the parent; its end is our cue.
        signal.signal(number, signal.SIG_IGN)
    wards: list[Ward] = []
    with os.fdopen(fd) as lines:
        for line in lines:
            for ward in [ward for ward in wards if not ward.alive()]:
                ward.close()
                wards.remove(ward)
            wards.append(Ward(*map(int, line.split())))
    stop(wards)


def stop(wards: list[Ward]) -> None:
    """Ask all at once, then kill each that outstays its grace."""
    asked = time.monotonic()
    for ward in wards:
        ward.send(ward.stop_signal)
    while wards:
        wards = [ward for ward in wards if ward.alive()]
        for ward in wards:
            if time.monotonic() - asked > ward.grace_s:
                ward.send(signal.SIGKILL)
        time.sleep(0.02)


if __name__ == "__main__":
    main(int(sys.argv[1]))
