"""What the kernel takes for a module parameter, by its type (kernel/params.c, lib/kstrtox.c).

A value it does not take keeps the whole module from loading (kernel/module/main.c load_module()).
"""

import enum
import re
from collections.abc import Callable, Mapping

# Base 0: hexadecimal, octal or decimal, one sign. More decimal digits overflow every type.
_INTEGER = re.compile(r'([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]{0,18})')


class LoadValue(enum.Enum):
    """What the kernel makes of a value when it loads the module."""

    ON = 'on'
    OFF = 'off'
    FATAL = 'fatal'  # the module does not load at all
    UNKNOWN = 'unknown'  # depends on the kernel, and this one cannot be told


Parser = Callable[[str | None, str], LoadValue]


def kernel_version(release: str) -> tuple[int, int] | None:
    """Return (major, minor) of a kernel release such as ``6.1.0-18-cloud-amd64``, or None."""
    match = re.match(r'([0-9]{1,9})\.([0-9]{1,9})', release)
    return (int(match[1]), int(match[2])) if match else None


def boolean(text: str | None, release: str) -> LoadValue:
    """A bool: kstrtobool looks at the first letter, after an o at the second.

    It takes t and f (true, false) since Linux 6.0 (commit 0d6ea3ac94ca).
    """
    text = 'y' if text is None else text.lower()
    if text[:1] in ('t', 'f') and (kernel_version(release) or (0, 0)) < (6, 0):
        return LoadValue.UNKNOWN
    if text[:1] in ('y', 't', '1') or text[:2] == 'on':
        return LoadValue.ON
    if text[:1] in ('n', 'f', '0') or text[:2] == 'of':
        return LoadValue.OFF
    return LoadValue.FATAL


def integer(text: str | None, release: str) -> LoadValue:
    """An int: kstrtoint, of which every number but 0 is on."""
    number = _number(text)
    if number is None or not -(1 << 31) <= number < 1 << 31:
        return LoadValue.FATAL
    return LoadValue.ON if number else LoadValue.OFF


def unsigned(text: str | None, release: str) -> LoadValue:
    """An unsigned int: kstrtouint, which takes no minus sign."""
    number = _number(text)
    if number is None or (text or '').startswith('-') or number >= 1 << 32:
        return LoadValue.FATAL
    return LoadValue.ON if number else LoadValue.OFF


def _number(text: str | None) -> int | None:
    match = _INTEGER.fullmatch(text or '')
    if not match:
        return None
    sign, digits = match.groups()
    octal = digits[0] == '0' and digits[1:2] not in ('x', 'X')
    return int(digits, 8 if octal else 0) * (-1 if sign == '-' else 1)


#: Parameters of ``kvm`` (arch/x86/kvm/x86.c, virt/kvm/kvm_main.c) by name, with every type they
#: have had: what none of them takes is fatal on every kernel. Left out: those with a parser of
#: their own (nx_huge_pages, pi_inject_timer), and those only some kernels have, since an unknown
#: parameter is passed over.
KVM: Mapping[str, tuple[Parser, ...]] = {
    'ignore_msrs': (boolean,),
    'report_ignored_msrs': (boolean,),
    'kvmclock_periodic_sync': (boolean,),
    'vector_hashing': (boolean,),
    'enable_vmware_backdoor': (boolean,),
    'min_timer_period_us': (unsigned,),
    'tsc_tolerance_ppm': (unsigned,),
    'halt_poll_ns': (unsigned,),
    'halt_poll_ns_grow': (integer, unsigned),  # an int on old kernels
    'halt_poll_ns_shrink': (integer, unsigned),
}
