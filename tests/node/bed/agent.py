"""The QEMU guest agent inside a node: runs its commands, over a virtio-serial port."""

import base64
import time
from collections.abc import Sequence
from typing import Any

from tests.node.bed.channel import Channel, NoReplyError
from tests.node.bed.polling import poll
from tests.node.bed.process import Result

# By the agent's protocol this byte makes it forget an unfinished message.
RESET = b'\xff'
# How long the agent may take to say that it has begun something.
REPLY_SECONDS = 60.0
ENVIRONMENT = (
    'HOME=/root',
    'LC_ALL=C.UTF-8',
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
)


class Agent:
    """Commands in a node. Every method raises ChannelClosedError once the node is off."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def ping(self, timeout: float) -> None:
        """Return when the agent answers; raises NoReplyError if not in ``timeout`` seconds."""
        self._channel.call('guest-ping', {}, timeout)

    def execute(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b'',
        timeout: float,
        reply: float = REPLY_SECONDS,
    ) -> Result:
        """Run ``command`` as root and return how it ended; output bytes survive as surrogates.

        Raises TimeoutError, after having killed it, when it runs longer than ``timeout``
        seconds, and NoReplyError when the agent says nothing for ``reply`` seconds. It has
        ended when its output has been closed: what is to go on in the background must write
        elsewhere.
        """
        arguments: dict[str, Any] = {
            # Its own process group, so that it can be killed with all its children.
            'path': 'setsid',
            'arg': list(command),
            'env': list(ENVIRONMENT),
            'capture-output': True,
        }
        if stdin:
            arguments['input-data'] = base64.b64encode(stdin).decode()
        pid = self._channel.call('guest-exec', arguments, reply)['pid']

        def status() -> dict[str, Any] | None:
            found = self._channel.call('guest-exec-status', {'pid': pid}, reply)
            return found if found['exited'] else None

        try:
            ended = poll(status, timeout, f'the end of {" ".join(command)!r}')
        except NoReplyError:
            # A node that has rebooted would kill something else.
            raise
        except TimeoutError:
            kill = ['kill', '-KILL', '--', f'-{pid}']
            self._channel.call('guest-exec', {'path': kill[0], 'arg': kill[1:]}, reply)
            raise
        return Result(
            ended['exitcode'] if 'exitcode' in ended else -ended['signal'],
            _text(ended.get('out-data', '')),
            _text(ended.get('err-data', '')),
        )

    def set_clock(self) -> None:
        """Set the node's clock to this machine's; guest-set-time would wait for its RTC too."""
        self.execute(['date', '--utc', f'--set=@{time.time():.3f}'], timeout=REPLY_SECONDS)

    def close(self) -> None:
        """Let go of the agent."""
        self._channel.close()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors='surrogateescape')
