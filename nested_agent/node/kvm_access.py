"""Who may open ``/dev/kvm``: its owner, mode and access list, which udev gives it."""

import dataclasses
import errno
import os
import stat
from collections.abc import Mapping
from typing import Any, Self

from nested_agent.facts import Unread
from nested_agent.node.kvm import DEVICE
from nested_agent.node.root import Root, unread

ACL = 'system.posix_acl_access'


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """Owner and mode of a file.

    :ivar mode: permission bits; with an access list those of the group are its mask (acl(5))
    :ivar acl: the access list as its extended attribute holds it, in hexadecimal; None: none
    """

    mode: int
    uid: int
    gid: int
    acl: str | None

    def __str__(self) -> str:
        more = ' and an access list' if self.acl else ''
        return f'mode {self.mode:04o}, owner {self.uid}:{self.gid}{more}'

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what ``dataclasses.asdict`` made a dict.

        :raises KeyError, TypeError, ValueError: it is none
        """
        acl = data['acl']
        return cls(int(data['mode']), int(data['uid']), int(data['gid']), acl and str(acl))


def read(root: Root) -> Access | Unread | None:
    """Return who may open /dev/kvm, None where there is no such device."""
    try:
        status = root.stat(DEVICE)
    except FileNotFoundError:
        return None
    except OSError as error:
        return unread(DEVICE, error)
    try:
        acl = os.getxattr(root.path(DEVICE), ACL).hex()
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.ENOENT):
            return unread(DEVICE, error)
        acl = None
    return Access(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, acl)
