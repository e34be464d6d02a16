"""/dev/kvm back as it was: a load of the module makes it anew, and udev then gives it its owner."""

import os

from nested_agent.actions.site import Site
from nested_agent.exceptions import StepError
from nested_agent.node import kvm_access
from nested_agent.node.kvm import DEVICE
from nested_agent.node.kvm_access import Access

UDEVADM = ('/usr/bin/udevadm', '/bin/udevadm', '/usr/sbin/udevadm', '/sbin/udevadm')
# udev says that it is done before the last of its work can be seen.
SETTLED = 2.0


def restore(site: Site, before: Access | None) -> str:
    """Wait until /dev/kvm has its owner and mode of before; without udev's help, make it so.

    :param before: None: there was none, or nobody looked
    :returns: what else had to be done, as a clause; empty for nothing
    :raises StepError: it is not there, or cannot be changed
    """
    seconds = SETTLED if _udev_is_done(site) else site.limits.device
    if before is None or site.wait_for(lambda: kvm_access.read(site.root) == before, seconds):
        return ''
    if kvm_access.read(site.root) is None:
        raise StepError(f'{DEVICE} did not come back')
    try:
        _give(site, before)
    except OSError as error:
        raise StepError(
            f'{DEVICE} had {before}, and cannot be given that again: {error}'
        ) from error
    return f'{DEVICE} was given {before} again, which udev did not do'


def _udev_is_done(site: Site) -> bool:
    udevadm = next((path for path in UDEVADM if site.root.exists(path)), None)
    if udevadm is None:
        return False
    limit = site.limits.device
    try:
        done = site.run([udevadm, 'settle', f'--timeout={limit:.0f}'], timeout=limit + SETTLED)
    except StepError:
        return False  # other devices' events may take for ever
    return done.returncode == 0


def _give(site: Site, access: Access) -> None:
    path = site.root.path(DEVICE)
    os.chown(path, access.uid, access.gid)
    path.chmod(access.mode)
    if access.acl is not None:
        os.setxattr(path, kvm_access.ACL, bytes.fromhex(access.acl))
    elif isinstance(now := kvm_access.read(site.root), Access) and now.acl is not None:
        os.removexattr(path, kvm_access.ACL)
        path.chmod(access.mode)  # it was the list's mask until now
