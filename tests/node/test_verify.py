"""``nested-agentctl check`` on a node with the real kvm_amd, against an independent oracle."""

import json
from typing import Any

from tests.node.base import NodeTestCase
from tests.node.bed.bed import UNSUPPORTED
from tests.node.bed.node import Node

CONFIG = '/etc/nested-agent/nested-agent.conf'
KVM_CONF = '/etc/modprobe.d/kvm.conf'
NOVA_CONF = '/etc/nova/nova.conf'
NESTED = '/sys/module/kvm_amd/parameters/nested'
RELOAD = ['write-modprobe-dropin', 'reload-module', 'restart-nova-compute']
DISABLED = '[policy]\nnested = disabled\n'


class Found:
    """A report as the command printed it."""

    def __init__(self, code: int, report: dict[str, Any]) -> None:
        self.code = code
        self.report = report
        self.state = report['state']
        self.conditions = {each['type']: each for each in report['conditions']}
        self.plan = [each['kind'] for each in report['plan']]

    def __getitem__(self, type_: str) -> str:
        return f'{self.conditions[type_]["status"]}/{self.conditions[type_]["reason"]}'

    def message(self, type_: str) -> str:
        return str(self.conditions[type_]['message'])


def check(node: Node, *arguments: str, user: str = 'root') -> Found:
    command = ['nested-agentctl', 'check', '-f', 'json', *arguments]
    done = node.run(['runuser', '-u', user, '--', *command], check=False)
    if done.returncode > 4 or done.stderr:
        raise AssertionError(f'{done.returncode}: {done.stderr}')
    return Found(done.returncode, json.loads(done.stdout))


def reload_module(node: Node, *options: str) -> None:
    node.run(['modprobe', '-r', 'kvm_amd'])
    node.run(['modprobe', 'kvm_amd', *options])


def nested_guest_runs(node: Node) -> bool:
    """Whether a guest really ran a guest of its own (VMRUN): what all of this is about."""
    code = node.run('kvmprobe svm', check=False).returncode
    assert code in (0, 1), code
    return code == 0


class VerifyTest(NodeTestCase):
    def assert_runtime(self, node: Node, found: Found, on: bool) -> None:
        """Assert that ioctl, sysfs, the judgement and the oracle say the same."""
        observation = found.report['observation']
        self.assertEqual(on, bool(observation['kvm']['cpuid']['0x80000001']['ecx'] >> 2 & 1))
        self.assertEqual(str(int(on)), observation['modules']['kvm_amd']['parameters']['nested'])
        self.assertEqual('on' if on else 'off', found.conditions['NestedRuntime']['observed'])
        self.assertEqual(on, nested_guest_runs(node))

    def test_from_drifted_to_compliant(self) -> None:
        node = self.node()
        found = check(node)
        self.assertEqual((1, 'drifted'), (found.code, found.state))
        self.assertEqual('False/Disabled', found['NestedRuntime'])
        self.assertEqual('False/OptionDisabled', found['NestedPersistent'])
        self.assertIn(f'{KVM_CONF}:1', found.message('NestedPersistent'))
        self.assertEqual(RELOAD, found.plan)
        for type_ in ('CPUSupported', 'KernelSupported', 'KVMUsable', 'GuestCPU', 'VirtType'):
            self.assertEqual('True', found.conditions[type_]['status'], found.conditions[type_])
        self.assertEqual('True/StartedAfterChange', found['NovaConfigCurrent'])
        self.assert_runtime(node, found, on=False)

        reload_module(node, 'nested=1')
        found = check(node)
        self.assertEqual('drifted', found.state)
        self.assertEqual('True/Enabled', found['NestedRuntime'])
        self.assertEqual('False/OptionDisabled', found['NestedPersistent'])
        self.assert_runtime(node, found, on=True)

        node.write_file(KVM_CONF, 'options kvm_amd nested=1\n')
        found = check(node)
        self.assertEqual((0, 'compliant', []), (found.code, found.state, found.plan))
        self.assertEqual('True/OptionEnabled', found['NestedPersistent'])

        node.reboot()
        found = check(node)
        self.assertEqual((0, 'compliant'), (found.code, found.state))
        self.assert_runtime(node, found, on=True)

    def test_the_same_under_policy_disabled(self) -> None:
        node = self.node()
        node.write_file(CONFIG, DISABLED)
        node.write_file(KVM_CONF, 'options kvm_amd nested=1\n')
        reload_module(node)
        found = check(node)
        self.assertEqual((1, 'drifted'), (found.code, found.state))
        self.assertEqual('False/Enabled', found['NestedRuntime'])
        self.assertEqual('False/OptionEnabled', found['NestedPersistent'])
        self.assertIn(f'{KVM_CONF}:1', found.message('NestedPersistent'))
        self.assertEqual(RELOAD, found.plan)
        self.assert_runtime(node, found, on=True)

        reload_module(node, 'nested=0')
        found = check(node)
        self.assertEqual('drifted', found.state)
        self.assertEqual('True/Disabled', found['NestedRuntime'])
        self.assertEqual('False/OptionEnabled', found['NestedPersistent'])
        self.assert_runtime(node, found, on=False)

        node.write_file(KVM_CONF, 'options kvm_amd nested=0\n')
        found = check(node)
        self.assertEqual((0, 'compliant', []), (found.code, found.state, found.plan))
        self.assertEqual('True/OptionDisabled', found['NestedPersistent'])

        node.reboot()
        found = check(node)
        self.assertEqual((0, 'compliant'), (found.code, found.state))
        self.assert_runtime(node, found, on=False)

    def test_an_unsupported_node(self) -> None:
        node = self.node(cpu=UNSUPPORTED)
        found = check(node)
        self.assertEqual((3, 'unsupported', []), (found.code, found.state, found.plan))
        self.assertEqual('False/HiddenByHypervisor', found['CPUSupported'])
        self.assertIn('vmx', found.message('CPUSupported'))
        self.assertNotEqual(0, node.run('kvmprobe vmx', check=False).returncode)
        node.write_file(CONFIG, DISABLED)
        found = check(node)
        self.assertEqual((0, 'compliant'), (found.code, found.state))

    def test_the_module_is_not_loaded(self) -> None:
        node = self.node()
        node.run('modprobe -r kvm_amd')
        found = check(node)
        self.assertEqual('drifted', found.state)
        self.assertEqual('False/ModuleNotLoaded', found['KVMUsable'])
        self.assertEqual('False/ModuleNotLoaded', found['NestedRuntime'])
        self.assertEqual(['write-modprobe-dropin', 'load-module'], found.plan)
        # Looking must not have loaded anything.
        self.assertNotEqual(0, node.run('test -d /sys/module/kvm', check=False).returncode)

    def test_a_held_module_is_pending_and_its_holder_named(self) -> None:
        node = self.node()
        node.write_file(KVM_CONF, 'options kvm_amd nested=1\n')
        node.run(['systemd-run', '--unit=hold', 'kvmprobe', 'hold', '600'])
        node.wait_until('test "$(cat /sys/module/kvm_amd/refcnt)" != 0')
        found = check(node)
        self.assertEqual((1, 'pending'), (found.code, found.state))
        pid = node.run('systemctl show -P MainPID hold').stdout.strip()
        self.assertIn(f'kvmprobe (pid {pid})', found.message('NestedRuntime'))
        refcnt = node.read_file('/sys/module/kvm_amd/refcnt')
        self.assertEqual(
            refcnt.strip(), str(found.report['observation']['modules']['kvm_amd']['refcnt'])
        )

    def test_what_only_root_can_know_is_unknown(self) -> None:
        node = self.node()
        found = check(node, user='nobody')
        self.assertEqual('Unknown/Unreadable', found['KVMUsable'])
        self.assertIn('EACCES', found.message('KVMUsable'))
        self.assertIn('run as root', found.message('KVMUsable'))
        self.assertEqual('False/Disabled', found['NestedRuntime'])
        self.assertIn('by sysfs alone', found.message('NestedRuntime'))
        self.assertEqual('Unknown/Unreadable', found['GuestCPU'])
        reload_module(node, 'nested=1')
        node.write_file(KVM_CONF, 'options kvm_amd nested=1\n')
        found = check(node, user='nobody')
        self.assertEqual((4, 'unknown'), (found.code, found.state))

    def test_a_change_of_nova_conf(self) -> None:
        node = self.node()
        node.write_file(NOVA_CONF, '[libvirt]\nvirt_type = kvm\ncpu_mode = host-model\n', 0o640)
        found = check(node)
        self.assertEqual('False/HostModelWithoutFlag', found['GuestCPU'])
        self.assertIn(f'{NOVA_CONF}:3', found.message('GuestCPU'))
        self.assertEqual('Unknown/ChangedSinceStart', found['NovaConfigCurrent'])
        self.assertEqual(['set-nova-option', 'restart-nova-compute'], found.plan[-2:])
        self.assertEqual('nova-compute.service', found.report['plan'][-1]['target'])
        node.run('systemctl restart nova-compute')
        self.assertEqual('True/StartedAfterChange', check(node)['NovaConfigCurrent'])

    def test_nothing_on_the_node_is_changed(self) -> None:
        node = self.node()
        check(node)  # what Python and stevedore cache, they cache now
        modules = node.read_file('/proc/modules')
        node.run('touch /tmp/before && sync')
        check(node)
        changed = node.run('find / -xdev -newercm /tmp/before -not -path "/var/log*"').stdout
        self.assertEqual('', changed)
        self.assertEqual(modules, node.read_file('/proc/modules'))

    def test_a_captured_tree_is_judged_alike(self) -> None:
        node = self.node()
        node.run(
            'set -e; mkdir -p /tmp/tree; cd /; '
            'cp -a --parents /etc/modprobe.d /etc/nova /etc/hostname /tmp/tree; '
            'for f in /proc/cpuinfo /proc/cmdline /proc/sys/kernel/osrelease '
            '/sys/module/kvm_amd/initstate /sys/module/kvm_amd/refcnt '
            f'{NESTED} /sys/module/kvm/initstate; do '
            'mkdir -p /tmp/tree${f%/*}; cat $f > /tmp/tree$f; done'
        )
        live, captured = check(node), check(node, '--root', '/tmp/tree')
        self.assertEqual('drifted', captured.state)
        for type_ in ('CPUSupported', 'NestedRuntime', 'NestedPersistent', 'GuestCPU'):
            self.assertEqual(live[type_], captured[type_])
        self.assertEqual('Unknown/Unreadable', captured['KVMUsable'])
        self.assertEqual('compute-1', captured.report['host'])


class PredictionTest(NodeTestCase):
    """What is said of the next load is what the next load does."""

    # One process for all cases: starting Python is what takes time in an emulated node.
    SCRIPT = """\
import json, pathlib, subprocess, sys
from nested_agent.drivers import loader
from nested_agent.node.observe import Sources
from nested_agent.node.root import Root
from nested_agent.policy import Policy
from nested_agent.report import make_report

def predicted():
    report = make_report(Root(), loader.load(), Sources(), Policy())
    condition = next(each for each in report.conditions if each.type == 'NestedPersistent')
    words = {'FatalValue': 'refused', 'InstallCommand': 'not loaded'}
    return words.get(condition.reason, condition.observed)

def actual():
    subprocess.run(['modprobe', '-r', 'kvm_amd'], check=True)
    if subprocess.run(['modprobe', 'kvm_amd']).returncode:
        return 'refused'
    nested = pathlib.Path('/sys/module/kvm_amd/parameters/nested')
    if not nested.exists():
        return 'not loaded'
    return {'0': 'off', '1': 'on'}[nested.read_text().strip()]

answers = []
for case in json.load(sys.stdin):
    files = {pathlib.Path(name): text for name, text in case.items()}
    for file, text in files.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, newline='')
    answers.append([predicted(), actual()])
    for file in files:
        file.unlink()
json.dump(answers, sys.stdout)
"""

    def outcomes(self, node: Node, cases: list[dict[str, str]]) -> set[str]:
        """Assert that every case comes as predicted, and return what came."""
        python = '/opt/nested-agent/bin/python'
        done = node.run([python, '-c', self.SCRIPT], stdin=json.dumps(cases), timeout=600)
        answers = json.loads(done.stdout)
        self.assertEqual(len(cases), len(answers))
        for case, (predicted, actual) in zip(cases, answers, strict=True):
            self.assertEqual(actual, predicted, case)
        return {actual for _, actual in answers}

    def test_what_a_line_does(self) -> None:
        node = self.node()
        node.run(f'rm {KVM_CONF}')
        lines = (
            '',
            'options kvm_amd nested=0\n',
            'options kvm-amd nested=1\n',
            'options kvm_amd nested=0\noptions kvm_amd nested=1\n',
            'options kvm_amd nested=1 nested=0\n',
            'options kvm_amd nested=y\n',
            'options kvm_amd nested\n',
            'options kvm_amd nested=y\noptions kvm_amd nested=1\n',
            'options amd nested=0\n',
            'Options kvm_amd nested=0\n',
            '  options\tkvm_amd\tnested=0\n',
            'options kvm_amd \\\n nested=0\n',
            'options kvm_amd nested=0 # off\n',
            '# options kvm_amd nested=0\n',
            'options kvm_amd nested=0\r\n',
            'options kvm_amd nested=1\r\n',
            'options kvm_amd nested="0"\n',
            'options kvm_amd "nested=0"\n',
            'options kvm_amd nested=0x0\n',
            'options kvm_amd nested=08\n',
            'options kvm_amd Nested=0\n',
            'options kvm_amd bogus=1 nested=0\n',
            'blacklist kvm_amd\n',
            'install kvm_amd /bin/true\n',
        )
        came = self.outcomes(node, [{'/etc/modprobe.d/test.conf': line} for line in lines])
        self.assertEqual({'on', 'off', 'refused', 'not loaded'}, came)

    def test_order_and_masking_of_files(self) -> None:
        node = self.node()
        node.run(f'rm {KVM_CONF}')
        cases = (
            {'/etc/modprobe.d/a.conf': 1, '/run/modprobe.d/b.conf': 0},
            {'/etc/modprobe.d/b.conf': 1, '/run/modprobe.d/a.conf': 0},
            {'/etc/modprobe.d/b.conf': 1, '/usr/lib/modprobe.d/zz.conf': 0},
            {'/etc/modprobe.d/zz.conf': 1, '/usr/lib/modprobe.d/zz.conf': 0},
            {'/run/modprobe.d/zz.conf': 0, '/usr/lib/modprobe.d/zz.conf': 1},
            {'/etc/modprobe.d/B.conf': 0, '/etc/modprobe.d/a.conf': 1},
            {'/etc/modprobe.d/a.conf': 1, '/etc/modprobe.d/b.conf.bak': 0},
        )
        texts = [
            {name: f'options kvm_amd nested={value}\n' for name, value in case.items()}
            for case in cases
        ]
        self.assertEqual({'on', 'off'}, self.outcomes(node, texts))

    def test_a_kernel_argument_wins_and_is_named(self) -> None:
        node = self.node(arguments='kvm-amd.nested=1', cold=True)
        found = check(node)
        self.assertEqual((0, 'compliant'), (found.code, found.state))
        self.assertIn('/proc/cmdline:1', found.message('NestedPersistent'))
        self.assertEqual({'on'}, self.outcomes(node, [{'/etc/modprobe.d/zzz.conf': ''}]))
        node.write_file(CONFIG, DISABLED)
        found = check(node)
        self.assertEqual((2, 'blocked'), (found.code, found.state))
        self.assertEqual(['by-hand'], found.plan)
