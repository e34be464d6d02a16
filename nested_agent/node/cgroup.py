"""Where a process runs, as its control group tells: systemd unit and container."""

import re
from typing import NamedTuple

# systemd scopes or directories by docker, podman (also quadlet's payload), cri-o and containerd;
# libpod-conmon-ID is podman's monitor on the host, not the container.
_ENGINE = re.compile(
    r'(?:docker|libpod|libpod-payload|crio|cri-containerd|nerdctl)-(?P<id>[0-9a-f]{12,64})'
    r'(?:\.scope)?'
    r'|(?P<bare>[0-9a-f]{64})'
)
# lxc.payload.NAME; systemd-machined's machine-NAME.scope, but not libvirt's guests.
_NAMED = re.compile(
    r'lxc\.payload\.(?P<lxc>.+)'
    r'|machine-(?!qemu\\x2d)(?P<machine>.+)\.scope'
    r'|systemd-nspawn@(?P<nspawn>.+)\.service'
)
_PARENTS = ('lxc', 'lxc.payload', 'docker')


class Place(NamedTuple):
    """A unit of this host, a container's id or name; None where there is none."""

    unit: str | None
    container: str | None


def place(text: str, own: str = '') -> Place:
    """Return unit and container from the text of ``/proc/PID/cgroup``.

    :param own: the same file of this process: its own container is "the host" to it
    """
    found = None
    unit = None
    for path in _paths(text):
        parts = path.split('/')
        index = _container_index(parts)
        if index is not None and found is None:
            found = _container(parts, index)
            parts = parts[:index]
        unit = unit or _unit(parts)
    if found is not None and own and place(own).container == found:
        return Place(_inner_unit(text), None)
    return Place(unit, found)


def _paths(text: str) -> list[str]:
    """Return the distinct paths: systemd's own hierarchy first, then v2, then the others."""
    paths: dict[str, int] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(':')
        controllers, _, path = rest.partition(':')
        rank = {'name=systemd': 0, '': 1}.get(controllers, 2)
        paths[path] = min(rank, paths.get(path, rank))
    return sorted(paths, key=lambda path: paths[path])


def _container_index(parts: list[str]) -> int | None:
    for index, part in enumerate(parts):
        if _ENGINE.fullmatch(part) or _NAMED.fullmatch(part):
            return index
        if part and parts[index - 1] in _PARENTS:
            return index
    return None


def _container(parts: list[str], index: int) -> str:
    part = parts[index]
    if match := _ENGINE.fullmatch(part):
        return match['id'] or match['bare']
    if match := _NAMED.fullmatch(part):
        return match['lxc'] or match['machine'] or match['nspawn']
    return part


def _unit(parts: list[str]) -> str | None:
    # Below user@UID.service are units of that user's own manager: out of the system's reach.
    if any(part.startswith('user@') for part in parts):
        return None
    return next((part for part in reversed(parts) if part.endswith('.service')), None)


def _inner_unit(text: str) -> str | None:
    for path in _paths(text):
        parts = path.split('/')
        index = _container_index(parts)
        if unit := _unit(parts[index + 1 :] if index is not None else parts):
            return unit
    return None
