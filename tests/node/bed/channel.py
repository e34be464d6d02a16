"""JSON messages, one a line, over a socket: what the emulator and the guest agent speak."""

import itertools
import json
import select
import socket
import time
from typing import Any


class ChannelClosedError(Exception):
    """The other side is gone."""


class NoReplyError(TimeoutError):
    """The other side said nothing in time."""


class RemoteError(Exception):
    """The other side refused a request; the message is its own."""


class Channel:
    """Requests and their replies, matched by number: a late reply is never taken for another.

    ``reset`` goes before each request, for a reader that may still wait for the rest of one
    that was cut off.
    """

    def __init__(self, connection: socket.socket, *, reset: bytes = b'') -> None:
        self._socket = connection
        self._reset = reset
        self._numbers = itertools.count(1)
        self._buffer = b''

    def call(self, name: str, arguments: dict[str, Any], timeout: float) -> Any:
        """Send a request and return its reply.

        Raises RemoteError when it is refused, NoReplyError after ``timeout`` seconds and
        ChannelClosedError when there is nobody to ask.
        """
        end = time.monotonic() + timeout
        number = next(self._numbers)
        request = {'execute': name, 'arguments': arguments, 'id': number}
        self._send(self._reset + json.dumps(request).encode() + b'\n', end)
        while True:
            reply = self._receive(end)
            if reply.get('id') != number:
                continue
            if 'error' in reply:
                raise RemoteError(f'{name}: {reply["error"].get("desc", reply["error"])}')
            return reply.get('return')

    def close(self) -> None:
        """Let go of the other side."""
        self._socket.close()

    def _send(self, data: bytes, end: float) -> None:
        self._socket.settimeout(max(0.001, end - time.monotonic()))
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            raise NoReplyError from error
        except OSError as error:
            raise ChannelClosedError from error

    def _receive(self, end: float) -> dict[str, Any]:
        while True:
            line, newline, rest = self._buffer.partition(b'\n')
            if newline:
                self._buffer = rest
                try:
                    message = json.loads(line)
                except ValueError:
                    continue
                if isinstance(message, dict):
                    return message
                continue
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                raise NoReplyError
            try:
                data = self._socket.recv(1 << 16)
            except OSError as error:
                raise ChannelClosedError from error
            if not data:
                raise ChannelClosedError
            self._buffer += data
