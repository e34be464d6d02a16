"""Evidence that virtualization is switched off in firmware.

Looked for only where it could explain something: the flag is absent, or the module is not there.
"""

import os
import re
import struct

from nested_agent.facts import CPUIDLeaf, Firmware, Unread
from nested_agent.node.root import Completed, Root, unread

KERNEL_LOG = '/dev/kmsg'
# The journal has a copy, for who may not read the log itself (kernel.dmesg_restrict, CAP_SYSLOG).
JOURNALCTL = ('/usr/bin/journalctl', '/bin/journalctl')
JOURNAL = ('--dmesg', '--boot', '--no-pager', '--quiet', '--output=cat')
JOURNAL_SECONDS = 20.0
CPUID_DEVICE = '/dev/cpu/0/cpuid'

# Where a captured tree may hold the kernel log: Debian, Red Hat, sosreport.
CAPTURED_LOGS = ('/var/log/dmesg', '/sos_commands/kernel/dmesg', '/var/log/kern.log')

# arch/x86/kernel/cpu/feat_ctl.c ("VMX (outside TXT) disabled by BIOS"), arch/x86/kvm/x86.c
# ("support for 'kvm_amd' disabled by bios", "disabled by bios"), arch/x86/kvm/svm/svm.c and
# arch/x86/kernel/cpu/amd.c ("SVM disabled (by BIOS) in MSR_VM_CR"), arch/x86/kvm/vmx/vmx.c
# ("VMX not enabled (by BIOS) in MSR_IA32_FEAT_CTL").
# Not "x86/cpu: SGX disabled by BIOS", which says nothing about virtualization.
_BY_BIOS = re.compile(
    r'\b(?:kvm(?:_\w+)?|svm|vmx)\b.*(?:disabled|not enabled) \(?by bios\)?', re.IGNORECASE
)

# init/version.c linux_banner, the first line of every boot.
_BOOT = re.compile(r'\bLinux version \d')

_LEAF = struct.Struct('=4I')

# A record is at most 8 KiB (CONSOLE_EXT_LOG_MAX); a full 16 MiB log has about this many.
_RECORDS = 200_000


def read(root: Root) -> Firmware:
    """Return what the kernel log and the processor itself say."""
    return Firmware(_kernel_log(root), _raw_cpuid(root))


def by_bios(text: str) -> tuple[str, ...]:
    """Return the lines of a kernel log that blame firmware, each once, in order.

    Only those of its last boot: a log file spans several, and firmware may have been set since.
    """
    begin = 0
    for match in _BOOT.finditer(text):
        begin = match.start()
    lines = (line.strip() for line in text[begin:].splitlines() if _BY_BIOS.search(line))
    return tuple(dict.fromkeys(lines))


def _kernel_log(root: Root) -> tuple[str, ...] | Unread:
    if root.live:
        found = _kmsg(root)
        return _journal(root, found) if isinstance(found, Unread) else found
    for name in CAPTURED_LOGS:
        text = root.try_text(name)
        if isinstance(text, str):
            return by_bios(text)
    return Unread(CAPTURED_LOGS[0], 'ENOENT', 'no kernel log in the captured tree')


def _kmsg(root: Root) -> tuple[str, ...] | Unread:
    try:
        fd = root.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return unread(KERNEL_LOG, error)
    texts = []
    try:
        for _ in range(_RECORDS):
            try:
                record = os.read(fd, 8192)
            except BrokenPipeError:
                continue  # EPIPE: overwritten while being read; the next read goes on
            except BlockingIOError:
                break
            # "priority,sequence,time,flags;message\n key=value": the message is what counts.
            if not record:
                break
            texts.append(record.decode(errors='replace').partition(';')[2].partition('\n')[0])
    except OSError as error:
        return unread(KERNEL_LOG, error)
    finally:
        os.close(fd)
    return by_bios('\n'.join(texts))


def _journal(root: Root, problem: Unread) -> tuple[str, ...] | Unread:
    """Return what the journal says, or why the log itself cannot be read."""
    command = next((path for path in JOURNALCTL if root.exists(path)), None)
    done = root.run([command, *JOURNAL], timeout=JOURNAL_SECONDS) if command else None
    # Not all of it: begun too late, or not for everybody's eyes.
    if not isinstance(done, Completed) or not _BOOT.search(done.stdout):
        return problem
    return by_bios(done.stdout)


def _raw_cpuid(root: Root) -> dict[str, CPUIDLeaf] | Unread:
    if not root.live:
        return Unread(CPUID_DEVICE, 'NotAvailable', 'a captured tree has no devices to ask')
    try:
        fd = root.open(CPUID_DEVICE)
    except OSError as error:
        return unread(CPUID_DEVICE, error)
    leaves = {}
    try:
        # arch/x86/kernel/cpuid.c: the file position is the leaf; 16 bytes eax, ebx, ecx, edx.
        for leaf in (0x1, 0x80000001):
            data = os.pread(fd, _LEAF.size, leaf)
            leaves[f'{leaf:#x}'] = CPUIDLeaf(*_LEAF.unpack(data))
    except (OSError, struct.error) as error:
        if isinstance(error, OSError):
            return unread(CPUID_DEVICE, error)
        return Unread(CPUID_DEVICE, 'Malformed', str(error))
    finally:
        os.close(fd)
    return leaves
