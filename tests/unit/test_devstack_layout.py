"""Runs on a node that DevStack made: its unit, its one file, and its default guest CPU."""

import fixtures

from nested_agent.facts import Manager
from nested_agent.model import ActionKind, Result, State
from nested_agent.verify.persistent import DROPIN
from tests.unit import nodes
from tests.unit.test_remediator import KVM_CONF, RemediatorTestCase

UNIT = 'devstack@n-cpu.service'
NOVA_CPU_CONF = '/etc/nova/nova-cpu.conf'
VENV = '/opt/stack/data/venv/bin'
# As stack.sh leaves it where /dev/kvm is there: nova.conf copied, then iniset.
STACKED = """\

[DEFAULT]
reimage_timeout_per_gb = 180
transport_url = rabbit://stackrabbit:s3cret@192.0.2.1:5672/nova_cell1
compute_driver = libvirt.LibvirtDriver

[libvirt]
tb_cache_size = 128
live_migration_uri = qemu+ssh://stack@%s/system
cpu_models = Nehalem
cpu_mode = custom
virt_type = kvm

[workarounds]
disable_group_policy_check_upcall = True
"""
MENDED = STACKED.replace('cpu_models = Nehalem\ncpu_mode = custom', 'cpu_mode = host-passthrough')
# lib/nova: configure_nova and bug 1939108, where /dev/kvm was missing.
WITHOUT_KVM = STACKED.replace('= kvm', '= qemu') + 'libvirt_disable_apic = True\n'


def nova_process(pid, *, ticks):
    """Return the /proc files of the nova-compute that run_process starts."""
    argv = (f'{VENV}/python3', f'{VENV}/nova-compute', '--config-file', NOVA_CPU_CONF)
    return {
        **nodes.nova_process(pid, ticks=ticks),
        f'/proc/{pid}/cmdline': '\0'.join(argv) + '\0',
        f'/proc/{pid}/cgroup': f'0::/system.slice/system-devstack.slice/{UNIT}\n',
        f'/proc/{pid}/cwd': '-> /',
    }


class DevStackLayoutTest(RemediatorTestCase):
    def setUp(self):
        super().setUp()
        for name, value in (
            ('simulated_systemd.UNIT', UNIT),
            ('simulated_systemd.UNIT_FILE', f'/etc/systemd/system/{UNIT}'),
            ('simulated.UNIT_FILE', f'/etc/systemd/system/{UNIT}'),
            ('simulated_systemd.NOVA_FILES', (NOVA_CPU_CONF,)),
            ('simulated_systemd.nova_process', nova_process),
        ):
            self.useFixture(fixtures.MonkeyPatch(f'tests.unit.{name}', value))

    def stacked(self, text=STACKED, **changes):
        # nova.conf is there too, as what the API and the conductor read: not for nova-compute.
        files = {
            NOVA_CPU_CONF: text,
            '/etc/nova/nova.conf': '[libvirt]\ncpu_mode = host-model\n',
            '/etc/nova/nova-compute.conf': None,
            KVM_CONF: 'options kvm_amd nested=0\n',
        }
        return self.have(files, **changes)

    def test_what_devstack_gives_guests_is_mended(self):
        for intel in (True, False):
            with self.subTest(intel=intel):
                node = self.stacked(intel=intel)
                judged = node.look()
                self.assertEqual(Manager.DEVSTACK, judged.observation.nova.manager)
                self.assertEqual(State.DRIFTED, judged.report.state)
                run = self.fix()
                self.assertEqual(Result.APPLIED, run.result)
                self.assertEqual(State.COMPLIANT, run.state_after)
                self.assertEqual(MENDED, node.read(NOVA_CPU_CONF))
                self.assertEqual([MENDED], [each[NOVA_CPU_CONF].decode() for each in node.starts])
                self.assertEqual(1, node.systemd.stops)
                restarted = [
                    each.action.target
                    for each in run.outcomes
                    if each.action.kind is ActionKind.RESTART_NOVA_COMPUTE
                ]
                self.assertEqual([UNIT], restarted)

    def test_stacked_again_is_mended_again(self):
        node = self.stacked()
        for _ in range(4):
            node.write({NOVA_CPU_CONF: STACKED})
            node.systemd.systemctl(['restart', UNIT], node.now)
            self.assertEqual(Result.APPLIED, self.fix().result)
            self.assertEqual(MENDED, node.read(NOVA_CPU_CONF))

    def test_where_kvm_was_missing_when_it_was_stacked(self):
        node = self.stacked(WITHOUT_KVM, loaded=False)
        # Whether virt_type may be kvm is known once the module is loaded: hence a second run.
        self.assertEqual(State.DRIFTED, self.fix().state_after)
        self.assertEqual(WITHOUT_KVM, node.read(NOVA_CPU_CONF))
        self.assertEqual(State.COMPLIANT, self.fix().state_after)
        self.assertIn('virt_type = kvm\n', node.read(NOVA_CPU_CONF))

    def test_clean_undoes_it(self):
        self.have_mended()
        self.assertEqual(Result.APPLIED, self.remediator.revert('me').result)
        self.assert_as_stacked()

    def test_clean_after_another_stack(self):
        node = self.have_mended()
        node.write({NOVA_CPU_CONF: STACKED})
        self.remediator.revert('me')
        self.assert_as_stacked()

    def have_mended(self):
        """Have a node that was mended, module included, and unstacked."""
        node = self.stacked()
        self.assertEqual(State.COMPLIANT, self.fix().state_after)
        self.assertIsNotNone(node.read(DROPIN))
        node.systemd.systemctl(['stop', UNIT], node.now)
        return node

    def assert_as_stacked(self):
        self.assertEqual(STACKED, self.node.read(NOVA_CPU_CONF))
        self.assertIsNone(self.node.read(DROPIN))
        self.assertEqual('0', self.node.parameter('nested'))
        self.assertEqual('inactive', self.node.systemd.active)
