"""The daemon in enforce mode mends a node with the real kvm_amd, and never makes it worse."""

import time

from tests.node import drifted
from tests.node.bed.node import Node
from tests.node.daemon import DEADLINE, conditions, message, runs, show, stored
from tests.node.drifted import (
    AFTER,
    BEFORE,
    KVM_CONF,
    MODPROBE_DROPIN,
    NOVA,
    NOVA_CONF,
    REVERTED_NAMES,
    last_start,
    load_of_module,
    main_pid,
    nested_guest_runs,
    parameter,
    starts,
)
from tests.node.enforced import (
    DISABLED,
    ENFORCE,
    FAULT_CONF,
    RemediateTestCase,
    make_loads_fail,
    results,
    states,
)


class EnforceTest(RemediateTestCase):
    def test_there_and_back(self) -> None:
        node = self.drifted()
        begun = len(starts(node))

        # There, with nobody's help.
        self.start(node)
        self.becomes(node, 'compliant', Remediable='True/Enforce')
        self.assert_mended(node)
        self.assertEqual(begun + 1, len(starts(node)))
        (run,) = runs(node)
        self.assertEqual(('applied', 'drifted', 'compliant'), (run['result'], *states(run)))
        self.assertEqual('False/Disabled', run['before']['NestedRuntime'])
        self.assertEqual('True/Enabled', run['after']['NestedRuntime'])
        self.assertEqual({'applied'}, set(results(run).values()))
        self.assertEqual('1', parameter(node))

        node.reboot()
        boot = node.boot_id()
        node.wait_until(lambda: stored(node)['boot_id'] == boot, DEADLINE)
        self.becomes(node, 'compliant')
        self.assert_mended(node)
        self.assertEqual([run['id']], [each['id'] for each in runs(node)])
        self.assertEqual(1, sum(start['boot_id'] == boot for start in starts(node)))

        # The other way: guests keep their mode, but have no flag to show.
        self.reconfigure(node, ENFORCE + DISABLED)
        node.wait_until(lambda: stored(node)['policy']['nested'] == 'disabled', DEADLINE)
        self.becomes(node, 'compliant')
        self.assertEqual('0', parameter(node))
        self.assertFalse(nested_guest_runs(node))
        self.assertIn('options kvm_amd nested=0\n', node.read_file(MODPROBE_DROPIN))
        self.assertEqual(AFTER, node.read_file(NOVA_CONF))

        # And all of it undone, as if there had never been an agent.
        node.run('nested-agentctl revert --yes', timeout=DEADLINE)
        self.assertEqual(REVERTED_NAMES, drifted.names(node))
        self.assertEqual(BEFORE, node.read_file(NOVA_CONF))
        self.assertEqual('root:nova 640', drifted.owner_and_mode(node, NOVA_CONF))
        self.assertEqual('0', parameter(node))
        self.assertEqual('custom', last_start(node)['cpu_mode'])

        # It drifts again, by our policy, and is left so until somebody says "resume".
        self.reconfigure(node, ENFORCE)
        report = self.becomes(node, 'drifted', Remediable='True/Paused')
        node.run(f'touch {KVM_CONF}')
        node.wait_until(lambda: stored(node)['sequence'] > report['sequence'], DEADLINE)
        self.assertEqual('True/Paused', conditions(stored(node))['Remediable'])
        self.assertEqual('revert', runs(node)[0]['trigger'])
        self.assertEqual(BEFORE, node.read_file(NOVA_CONF))
        node.run('nested-agentctl resume')
        self.becomes(node, 'compliant')
        self.assert_mended(node)


class BusyTest(RemediateTestCase):
    def test_a_held_module_waits_for_its_holder(self) -> None:
        node = self.drifted()
        holder = drifted.hold(node)
        load, nova, begun = load_of_module(node), main_pid(node), len(starts(node))

        self.start(node)
        report = self.becomes(node, 'pending', NestedPersistent='True/OptionEnabled')
        self.assertIn(f'kvmprobe (pid {holder})', message(report, 'NestedRuntime'))
        self.assertIn('options kvm_amd nested=1\n', node.read_file(MODPROBE_DROPIN))
        self.assertEqual(BEFORE, node.read_file(NOVA_CONF))
        untouched = (load, nova, begun)
        found = (load_of_module(node), main_pid(node), len(starts(node)))
        self.assertEqual(untouched, found)
        self.assertEqual('0', parameter(node))

        node.run('systemctl stop hold')
        self.becomes(node, 'compliant')
        self.assert_mended(node)
        self.assertEqual(begun + 1, len(starts(node)))
        self.assertNotEqual(load, load_of_module(node))


class FailureTest(RemediateTestCase):
    def test_a_load_that_fails_after_the_unload(self) -> None:
        node = self.drifted()
        node.run('modprobe -r kvm_amd && modprobe kvm_amd intercept_smi=0 npt=0')
        make_loads_fail(node)
        load, begun = load_of_module(node), len(starts(node))

        # The next attempt is an hour away.
        self.start(node, ENFORCE + 'attempts = 2\nbackoff = 3600\n')
        report = self.becomes(node, 'drifted', Remediable='False/Failed')
        self.assert_as_before(node, begun + 1)
        self.assertNotEqual(load, load_of_module(node))
        self.assertIn('kvm_amd cannot be loaded', message(report, 'Remediable'))
        status = report['remediation']
        self.assertEqual(1, status['failures'])
        self.assertGreater(status['next_attempt'], time.time() + 1800)
        (run,) = runs(node)
        self.assertEqual('failed', run['result'])
        self.assertEqual(
            {
                'write-modprobe-dropin': 'rolled_back',
                'reload-module': 'failed',
                'set-nova-option': 'skipped',
                'remove-nova-option': 'skipped',
                'restart-nova-compute': 'skipped',
            },
            results(run),
        )

        # Often enough is enough, until a person has mended it.
        self.reconfigure(node, ENFORCE + 'attempts = 2\nbackoff = 0\n')
        report = self.becomes(node, 'blocked', Remediable='False/GaveUp')
        self.assertIn('2 attempts in a row', message(report, 'Remediable'))
        self.assert_as_before(node, begun + 2)
        node.run(['rm', FAULT_CONF])
        node.wait_until(lambda: stored(node)['sequence'] > report['sequence'], DEADLINE)
        self.assertEqual('blocked', stored(node)['state'])
        self.assertEqual(2, len(runs(node)))
        node.run('nested-agentctl resume')
        self.becomes(node, 'compliant', Remediable='True/Enforce')
        self.assert_mended(node)

    def assert_as_before(self, node: Node, count: int) -> None:
        """Assert that the module has all its parameters, and nova-compute its configuration."""
        found = [parameter(node, name) for name in ('nested', 'intercept_smi', 'npt')]
        self.assertEqual(['0', 'N', 'N'], found)
        self.assertEqual(
            'crw-rw---- root:kvm', node.run('stat -c "%A %U:%G" /dev/kvm').stdout.strip()
        )
        self.assertEqual(1, node.run(['test', '-e', MODPROBE_DROPIN], check=False).returncode)
        self.assertEqual(BEFORE, node.read_file(NOVA_CONF))
        self.assertEqual('custom', last_start(node)['cpu_mode'])
        self.assertEqual(count, len(starts(node)))

    def test_nova_compute_refuses_what_it_should_run_with(self) -> None:
        node = self.drifted()
        node.write_file('/var/lib/nova/refuse', 'host-passthrough\n')
        begun = len(starts(node))
        # Far longer than it takes to fail.
        patient = ENFORCE.replace('nova_settle = 3', 'nova_settle = 30')
        self.start(node, patient + 'backoff = 3600\n')
        report = self.becomes(node, 'drifted', Remediable='False/Failed')
        self.assertIn(NOVA, message(report, 'Remediable'))
        self.assertEqual(BEFORE, node.read_file(NOVA_CONF))
        self.assertEqual('root:nova 640', drifted.owner_and_mode(node, NOVA_CONF))
        (run,) = runs(node)
        self.assertEqual('failed', run['result'])
        self.assertEqual(
            {
                'write-modprobe-dropin': 'applied',
                'reload-module': 'applied',
                'set-nova-option': 'rolled_back',
                'remove-nova-option': 'rolled_back',
                'restart-nova-compute': 'failed',
            },
            results(run),
        )
        # What was right by itself stays.
        self.assertEqual('1', parameter(node))
        # It was tried, systemd may have tried again before that was seen; then it is up.
        last = last_start(node)
        self.assertEqual(('custom', None), (last['cpu_mode'], last['refused']))
        *refused, _ = starts(node)[begun:]
        self.assertEqual({'host-passthrough'}, {start['cpu_mode'] for start in refused})
        self.assertLessEqual(len(refused), 2)
        self.assertEqual('active', show(node, 'ActiveState', NOVA))


class ContestTest(RemediateTestCase):
    def test_another_tool_changes_nova_conf_back(self) -> None:
        node = self.drifted()
        node.run(['cp', '-a', NOVA_CONF, '/root/nova.conf'])
        self.start(node, ENFORCE + 'contest_limit = 2\n')
        for fixes in (1, 2):
            node.wait_until(lambda fixes=fixes: len(runs(node)) == fixes, DEADLINE)
            self.becomes(node, 'compliant')
            self.assert_mended(node)
            node.run(f'cp -a /root/nova.conf /root/theirs && mv /root/theirs {NOVA_CONF}')
        report = self.becomes(node, 'blocked', Remediable='False/Contested')
        said = message(report, 'Remediable')
        self.assertIn('2 times since', said)
        self.assertIn(f'{NOVA_CONF} libvirt.cpu_mode', said)
        self.assertIn("the distribution's package", said)

        # Seen again, and left alone.
        node.run(f'touch {KVM_CONF}')
        node.wait_until(lambda: stored(node)['sequence'] > report['sequence'], DEADLINE)
        self.assertEqual('False/Contested', conditions(stored(node))['Remediable'])
        self.assertEqual(2, len(runs(node)))
        self.assertEqual(BEFORE, node.read_file(NOVA_CONF))
        self.assertEqual('host-passthrough', last_start(node)['cpu_mode'])
