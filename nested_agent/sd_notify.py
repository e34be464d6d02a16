"""Messages to systemd (sd_notify(3)).

oslo.service's ``notify_once`` removes NOTIFY_SOCKET, which the watchdog still needs.
"""

import os
import socket


def notify(*assignments: str) -> bool:
    """Send ``VARIABLE=VALUE`` lines; False when systemd does not listen, which is no error."""
    address = os.environ.get('NOTIFY_SOCKET')
    if not address:
        return False
    if address.startswith('@'):  # abstract namespace
        address = f'\0{address[1:]}'
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto('\n'.join(assignments).encode(), address)
    except OSError:
        return False
    return True


def watchdog_seconds() -> float | None:
    """Return how long systemd waits for a ``WATCHDOG=1``, or None if it does not watch us."""
    if os.environ.get('WATCHDOG_PID', str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ['WATCHDOG_USEC']) / 1_000_000
    except (KeyError, ValueError):
        return None
