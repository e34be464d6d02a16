"""The processor, as the running kernel describes it."""

import os

from nested_agent.facts import CPU, Unread
from nested_agent.node.root import Root, unread

CPUINFO = '/proc/cpuinfo'


def read(root: Root) -> CPU | Unread:
    """Return the first processor of ``/proc/cpuinfo`` (x86: arch/x86/kernel/cpu/proc.c).

    ``Malformed`` without a vendor_id and a flags line, as on other architectures.
    """
    try:
        text = _first_processor(root)
    except OSError as error:
        return unread(CPUINFO, error)
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(':')
        if colon:
            fields.setdefault(key.strip(), value.strip())
    vendor, flags = fields.get('vendor_id'), fields.get('flags')
    if not vendor or flags is None:
        return Unread(CPUINFO, 'Malformed', 'no x86 processor with vendor_id and flags in it')
    return CPU(vendor, fields.get('model name', ''), tuple(flags.split()))


def _first_processor(root: Root) -> str:
    # The kernel makes the text per processor as it is read: 1 of 256 is 1/256 of the work.
    fd = root.open(CPUINFO, os.O_RDONLY | os.O_NONBLOCK)
    data = b''
    with os.fdopen(fd, 'rb', buffering=0) as file:
        while b'\n\n' not in data and len(data) < 65536:
            chunk = file.read(4096)
            if not chunk:
                break
            data += chunk
    return data.split(b'\n\n')[0].decode(errors='replace')
