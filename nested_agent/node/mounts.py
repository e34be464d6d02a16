"""What is mounted where, in this process's mount namespace."""

import re

from nested_agent.facts import Unread
from nested_agent.node.root import Root, unread

MOUNTS = '/proc/self/mountinfo'
ESCAPED = re.compile(r'\\([0-7]{3})')


def is_mount_point(root: Root, path: str) -> bool | Unread:
    """Whether something is mounted at exactly this path, such as a single file.

    :param path: without a symbolic link in it
    """
    try:
        lines = root.read_text(MOUNTS).splitlines()
    except OSError as error:
        return unread(MOUNTS, error)
    # proc_pid_mountinfo(5): the fifth field; a blank is \040 there, a backslash \134.
    points = (line.split(' ')[4] for line in lines if line.count(' ') > 4)
    return any(ESCAPED.sub(lambda code: chr(int(code[1], 8)), point) == path for point in points)
