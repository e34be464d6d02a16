"""The processor, as the running kernel describes it."""

import os

from nested_agent.facts import CPU, Unread
from nested_agent.node.root import Root, unread

CPUINFO = '/proc/cpuinfo'

#: What arch/*/kernel prints where x86 has vendor_id and flags: arm, loongarch, mips, powerpc,
#: riscv; s390 has a vendor_id of its own.
_ELSEWHERE = ('CPU implementer', 'CPU Family', 'cpu model', 'cpu', 'isa')
_S390 = 'IBM/S390'


def read(root: Root) -> CPU | Unread:
    """Return the first processor of ``/proc/cpuinfo`` (x86: arch/x86/kernel/cpu/proc.c).

    ``OtherArchitecture`` where its fields show one; ``Malformed`` where nothing can be told: a
    file that ends before the processor does could have had the flag.
    """
    try:
        text, whole = _first_processor(root)
    except OSError as error:
        return unread(CPUINFO, error)
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(':')
        if colon:
            fields.setdefault(key.strip(), value.strip())
    vendor, flags = fields.get('vendor_id'), fields.get('flags')
    if whole and vendor and flags is not None:
        return CPU(vendor, fields.get('model name', ''), tuple(flags.split()))
    strange = [key for key in _ELSEWHERE if fields.get(key)] if not vendor else []
    if vendor == _S390 or strange:
        name = strange[0] if strange else 'vendor_id'
        return Unread(
            CPUINFO, 'OtherArchitecture', f'not an x86 processor ({name}: {fields[name]})'
        )
    return Unread(CPUINFO, 'Malformed', 'no whole x86 processor with vendor_id and flags in it')


def _first_processor(root: Root) -> tuple[str, bool]:
    """Return the text of the first processor, and whether the blank line that ends it is there."""
    # The kernel makes the text per processor as it is read: 1 of 256 is 1/256 of the work.
    data = b''
    with os.fdopen(root.open_regular(CPUINFO), 'rb', buffering=0) as file:
        while b'\n\n' not in data and len(data) < 65536:
            chunk = file.read(4096)
            if not chunk:
                break
            data += chunk
    first, blank, _ = data.partition(b'\n\n')
    return first.decode(errors='replace'), bool(blank)
