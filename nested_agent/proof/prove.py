"""The parent: whether a proof can be tried, the process that tries it, what it answers."""

import dataclasses
import json
import math
import os
import sys
import time
from pathlib import Path

from nested_agent import lock
from nested_agent.drivers import loader
from nested_agent.drivers.base import Driver
from nested_agent.exceptions import LockTimeoutError
from nested_agent.facts import Module, Unread
from nested_agent.node import cpu, kernel, kvm, module
from nested_agent.node.root import Completed, Root
from nested_agent.proof.finding import Finding, Outcome
from nested_agent.proof.result import Proof

CHILD = Path(__file__).with_name('__main__.py')

#: What there is a guest for, by CPU flag: a driver's name may be another party's.
KINDS = ('svm', 'vmx')

#: Seconds of processor time for the guest; it needs less than a thousandth.
CPU_SECONDS = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds.

    :ivar timeout: until the child is killed
    :ivar lock_timeout: until a remediation must have ended
    """

    timeout: float
    lock_timeout: float


def prove(root: Root, drivers: loader.Loaded, state_dir: Path, limits: Limits) -> Proof:
    """Try whether a guest can run a guest on this node, and leave it as it was.

    No module is loaded for it. While it lasts no remediation begins.
    """
    processor = cpu.read(root)
    if isinstance(processor, Unread):
        return _proof(root, not_tried('Unreadable', str(processor)))
    driver, _ = loader.choose(drivers, processor)
    if driver is None or driver.flag not in KINDS:
        text = f'there is no guest for processors of vendor {processor.vendor}'
        return _proof(root, not_tried('NoDriver', text))
    try:
        with lock.held(state_dir / lock.REMEDIATION, exclusive=False, timeout=limits.lock_timeout):
            return _locked(root, driver, limits.timeout)
    except LockTimeoutError as error:
        return _proof(root, not_tried('Remediating', f'a remediation is at work: {error}'))
    except OSError as error:
        return _proof(
            root, not_tried('NoLock', f'{state_dir / lock.REMEDIATION}: {error.strerror}')
        )


def not_tried(reason: str, message: str) -> Finding:
    """Return why nothing was tried."""
    hint = '; run as root' if os.geteuid() else ''
    return Finding(Outcome.NOT_TRIED, reason, f'{message}{hint}')


def _locked(root: Root, driver: Driver, timeout: float) -> Proof:
    before = _module(root, driver)
    if not isinstance(before, Module):
        return _proof(root, before)
    finding = _ask_child(root, driver.flag, timeout)
    after = _module(root, driver)
    if not isinstance(after, Module) or after.load != before.load:
        return _proof(root, not_tried('Reloaded', f'{driver.module} was reloaded meanwhile'))
    return _proof(root, finding, before)


def _module(root: Root, driver: Driver) -> Module | Finding:
    """Return the driver's module, or why there is nothing to prove."""
    found = module.read(root, kernel.read(root).release)
    if isinstance(found, Unread):
        return not_tried('Unreadable', str(found))
    if driver.module in found:
        return found[driver.module]
    others = ', '.join(name for name in found if name != 'kvm')
    if others:
        return not_tried('OtherAccelerator', f'KVM is provided by {others}, not {driver.module}')
    return not_tried('ModuleNotLoaded', f'{driver.module} is not loaded')


def _ask_child(root: Root, kind: str, timeout: float) -> Finding:
    device = str(root.path(kvm.DEVICE))
    overdue = str(math.ceil(timeout) + 1)  # when nobody is left to kill it
    command = [sys.executable, '-I', '-S', str(CHILD), kind, device, str(CPU_SECONDS), overdue]
    answer = root.run(command, timeout=timeout)
    if isinstance(answer, Unread):
        return not_tried(answer.error, f'the process with the guest: {answer.detail}')
    return _finding(answer)


def _finding(answer: Completed) -> Finding:
    try:
        outcome, reason, message, exception = json.loads(answer.stdout)
        finding = Finding(Outcome(outcome), reason, message, exception)
    except ValueError:
        said = answer.stderr.strip().rpartition('\n')[2]
        how = f'ended with {answer.returncode} and without an answer'
        return not_tried('ChildFailed', f'the process with the guest {how}: {said}'.rstrip(': '))
    if finding.outcome is Outcome.NOT_TRIED:
        return not_tried(finding.reason, finding.message)
    return finding


def _proof(root: Root, finding: Finding, of: Module | None = None) -> Proof:
    boot_id = kernel.boot_id(root)
    return Proof(
        finding,
        time.time(),
        boot_id if isinstance(boot_id, str) else None,
        of.name if of else None,
        of.load if of and isinstance(of.load, str) else None,
    )
