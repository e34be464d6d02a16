"""``nested-agentctl prove`` on nodes with the real kvm_amd, against the oracle."""

import json
from typing import Any

from tests.node.base import NodeTestCase
from tests.node.bed.bed import UNSUPPORTED
from tests.node.bed.node import Node
from tests.node.test_daemon import DEADLINE, UNIT, install, stored
from tests.node.test_daemon import conditions as conditions_of

CONFIG = '/etc/nested-agent/nested-agent.conf'
KVM_CONF = '/etc/modprobe.d/kvm.conf'
# Offers SVM without nested paging; kvm_amd then gets L1's CR4 wrong when L2 ends.
BROKEN = 'qemu64,+svm'
REFCNT = '/sys/module/kvm_amd/refcnt'
PYTHON = '/opt/nested-agent/bin/python'
CODES = {'proved': 0, 'refused': 1, 'failed': 2, 'not tried': 4}
# A loaded machine may need long to start a process in an emulated node.
PATIENT = '[prove]\ntimeout = 300\n'


def prove(node: Node, *options: str) -> dict[str, Any]:
    """Return what the command printed; its exit code is checked."""
    done = node.run(['nested-agentctl', *options, 'prove', '-f', 'json'], check=False, timeout=360)
    if done.stderr:
        raise AssertionError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == CODES[found['outcome']], (done.returncode, found)
    return found


def oracle(node: Node, kind: str = 'svm') -> int:
    return node.run(f'kvmprobe {kind}', check=False).returncode


def check(node: Node, *options: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return the state, every condition as ``Status/Reason``, and the whole report."""
    done = node.run(['nested-agentctl', *options, 'check', '-f', 'json'], check=False)
    report = json.loads(done.stdout)
    return report['state'], conditions_of(report), report


def reload_module(node: Node, *options: str) -> None:
    node.run(['modprobe', '-r', 'kvm_amd'])
    node.run(['modprobe', 'kvm_amd', *options])
    node.run('udevadm settle')


class ProveTest(NodeTestCase):
    def assert_nothing_left(self, node: Node, refcnt: str = '0') -> None:
        self.assertEqual(refcnt, node.read_file(REFCNT).strip())
        # The brackets keep the search from finding itself.
        search = "grep -al 'nested_agent/[p]roof' /proc/[0-9]*/cmdline"
        self.assertEqual('', node.run(search, check=False).stdout)

    def test_from_refused_to_proved_to_gone(self) -> None:
        node = self.node()
        node.write_file(CONFIG, PATIENT)
        found = prove(node)
        self.assertEqual(('refused', 13), (found['outcome'], found['exception']))
        self.assertIn('#GP', found['message'])
        self.assertEqual(CODES['refused'], oracle(node))
        self.assert_nothing_left(node)
        state, conditions, _ = check(node)
        self.assertEqual(('drifted', 'False/Refused'), (state, conditions['NestedProved']))
        node.write_file('/etc/other.conf', '[policy]\nnested = disabled\n')
        state, conditions, _ = check(node, '--config-file', '/etc/other.conf')
        self.assertEqual(('compliant', 'True/Refused'), (state, conditions['NestedProved']))

        node.write_file(KVM_CONF, 'options kvm_amd nested=1\n')
        reload_module(node)
        state, conditions, _ = check(node)
        self.assertEqual('compliant', state)
        self.assertNotIn('NestedProved', conditions)

        node.run(['systemd-run', '--unit=hold', 'kvmprobe', 'hold', '3600'])
        node.wait_until(f'test "$(cat {REFCNT})" = 2')
        found = prove(node)
        self.assertEqual(('proved', None), (found['outcome'], found['exception']))
        self.assert_nothing_left(node, refcnt='2')
        self.assertEqual(CODES['proved'], oracle(node))
        node.run('systemctl stop hold')
        # What touches /dev/kvm and empties the kernel's caches is no other load.
        node.run('udevadm trigger --settle && sync && echo 3 > /proc/sys/vm/drop_caches')
        state, conditions, _ = check(node)
        self.assertEqual(('compliant', 'True/Proved'), (state, conditions['NestedProved']))

        node.run('modprobe -r kvm_amd')
        found = prove(node)
        self.assertEqual(('not tried', 'ModuleNotLoaded'), (found['outcome'], found['reason']))
        self.assertEqual(2, oracle(node))
        self.assertNotEqual(0, node.run('test -d /sys/module/kvm', check=False).returncode)
        node.run('modprobe kvm_amd')
        self.assertNotIn('NestedProved', check(node)[1])

    def test_what_is_offered_and_does_not_work(self) -> None:
        node = self.node(cpu=BROKEN)
        node.write_file(CONFIG, PATIENT)
        node.write_file(KVM_CONF, 'options kvm_amd nested=1\n')
        reload_module(node)
        self.assertEqual('True/Degraded', check(node)[1]['NestedRuntime'])
        found = prove(node)
        self.assertEqual('failed', found['outcome'])
        self.assertEqual(CODES['failed'], oracle(node))
        self.assert_nothing_left(node)
        state, conditions, report = check(node)
        self.assertEqual(('blocked', 'False/Failed'), (state, conditions['NestedProved']))
        self.assertEqual(['by-hand'], [each['kind'] for each in report['plan']])

    def test_a_node_without_svm_and_vmx(self) -> None:
        node = self.node(cpu=UNSUPPORTED)
        found = prove(node)
        self.assertEqual(('not tried', 'ModuleNotLoaded'), (found['outcome'], found['reason']))
        self.assertNotEqual(0, oracle(node, 'vmx'))

    def test_a_remediation_is_waited_for(self) -> None:
        node = self.node()
        lock = '/var/lib/nested-agent/remediation.lock'
        node.write_file(CONFIG, '[prove]\nlock_timeout = 0\n')
        node.write_file(lock, '')
        node.run(['systemd-run', '--unit=remedy', 'flock', lock, 'sleep', '3600'])
        node.wait_until(f'! flock --nonblock {lock} true')
        self.assertEqual('Remediating', prove(node)['reason'])
        node.run('systemctl stop remedy')
        self.assertEqual('refused', prove(node)['outcome'])

    def test_the_daemon_shows_it_as_long_as_it_applies(self) -> None:
        node = self.node()
        install(node, PATIENT)
        node.run(f'systemctl start {UNIT}', timeout=DEADLINE)
        self.assertNotIn('NestedProved', conditions_of(stored(node)))

        def becomes(wanted: str | None) -> None:
            def fact() -> bool:
                return conditions_of(stored(node)).get('NestedProved') == wanted

            node.wait_until(fact, DEADLINE)

        prove(node)
        becomes('False/Refused')
        reload_module(node, 'nested=1')
        becomes(None)
        prove(node)
        becomes('True/Proved')
        node.reboot()
        node.run(f'systemctl start {UNIT}', timeout=DEADLINE)
        self.assertNotIn('NestedProved', conditions_of(stored(node)))


class MachineTest(NodeTestCase):
    """What a guest can do wrong, found out by guests that do."""

    # One process for all cases: starting Python is what takes time in an emulated node.
    SCRIPT = """\
import json, pathlib, struct, sys, time
from nested_agent.facts import Unread
from nested_agent.node.root import Root
from nested_agent.proof import machine, svm
from nested_agent.proof import long_mode as l1

def tried(address, data, seconds=300, also=None):
    image = bytearray(svm.image())
    l1.put(image, address, data)
    l1.put(image, *(also or (address, data)))
    found = svm.GUEST.finding(machine.run('/dev/kvm', bytes(image), svm.L1.address, seconds))
    return [found.outcome, found.message]

endless = b'\\xeb\\xfe'
cases = {
    'as it is': tried(svm.L1.address, svm.L1.code),
    'endless L1': tried(svm.L1.address, endless, 0.3),
    'endless L2': tried(svm.L2.address, endless, 0.3),
    'no ASID': tried(svm.VMCB + svm.GUEST_ASID, bytes(4)),
    'L2 halts': tried(svm.L2.address, l1.HLT),
    'L2 leaves no greeting': tried(svm.L2.address, b'\\x90' * 3),
    'L1 is undefined': tried(svm.L1.address, b'\\x0f\\x0b'),
    'L1 speaks': tried(svm.L1.address, b'\\xe6\\x80'),
    'L1 dies': tried(svm.L1.address, b'\\x0f\\x0b', also=(l1.IDT, bytes(512))),
    'L1 gets lost': tried(svm.L1.address, b'\\xa1' + struct.pack('<Q', l1.SIZE)),
}

# A child that has gone wild is killed by its parent, and with it its machine.
child = '''
import sys
sys.path.insert(0, sys.argv[1])
from nested_agent.proof import machine, svm
image = svm.image()
image = image[:0x1000] + bytes.fromhex('ebfe') + image[0x1002:]
sys.stderr.write('running')
machine.run('/dev/kvm', image, 0x1000, 3600)
'''
where = str(pathlib.Path(machine.__file__).parents[2])
answer = Root().run([sys.executable, '-I', '-S', '-c', child, where], timeout=5)
cases['a wild child'] = [answer.error, answer.detail]
json.dump(cases, sys.stdout)
"""

    def test_whatever_a_guest_does_there_is_an_answer(self) -> None:
        node = self.node()
        reload_module(node, 'nested=1')
        done = node.run([PYTHON, '-c', self.SCRIPT], timeout=600)
        cases = json.loads(done.stdout)
        self.assertEqual('proved', cases.pop('as it is')[0])
        self.assertEqual('Timeout', cases.pop('a wild child')[0])
        self.assertEqual('0', node.read_file(REFCNT).strip())
        says = {
            'endless L1': 'processor time',
            'endless L2': 'processor time',
            'no ASID': 'VMEXIT_INVALID',
            'L2 halts': 'exit code 0x78',
            'L2 leaves no greeting': 'left 0x0',
            'L1 dies': 'triple fault',
            'L1 gets lost': 'KVM_EXIT_MMIO',
            'L1 is undefined': '#UD (vector 6)',
            'L1 speaks': 'KVM_EXIT_IO',
        }
        for case, text in says.items():
            outcome, message = cases.pop(case)
            self.assertEqual('failed', outcome, case)
            self.assertIn(text, message, case)
        self.assertEqual({}, cases)
        node.run('modprobe -r kvm_amd')
