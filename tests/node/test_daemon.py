"""nested-agent under systemd in a node with the real kvm_amd, asked by RPC from outside."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fixtures

from tests.functional.broker import Broker
from tests.node.base import NodeTestCase
from tests.node.daemon import DEADLINE, UNIT, conditions, configure, install, show, stored

KVM_CONF = '/etc/modprobe.d/kvm.conf'
NOVA_CONF = '/etc/nova/nova.conf'
HOST = 'compute-1'
# How the node calls the machine it is emulated on.
CONTROLLER = '10.0.2.2'


class RemoteTest(NodeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory = Path(self.useFixture(fixtures.TempDir()).path)

    def control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = Path(sys.executable).with_name('nested-agentctl')
        return subprocess.run(
            [command, f'--config-file={self.directory / "control.conf"}', *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def status(self) -> dict[str, Any] | None:
        done = self.control('status', HOST, '--timeout', '60', '-f', 'json')
        return json.loads(done.stdout) if done.returncode < 5 else None

    def test_it_is_current_whatever_the_broker_does(self) -> None:
        broker = Broker()
        self.addCleanup(broker.close)
        control = self.directory / 'control.conf'
        control.write_text(f'[DEFAULT]\ntransport_url = {broker.url}\n')
        node = self.node()

        # No broker yet: the loop does not care.
        url = broker.url.replace('localhost', CONTROLLER)
        install(node, f'[DEFAULT]\ntransport_url = {url}')
        node.run(f'systemctl start {UNIT}', timeout=DEADLINE)
        self.assertEqual('drifted', stored(node)['state'])
        node.write_file(KVM_CONF, 'options kvm_amd nested=1\n')
        node.wait_until(
            lambda: conditions(stored(node))['NestedPersistent'] == 'True/OptionEnabled', DEADLINE
        )
        self.assertEqual(69, self.control('status', HOST, '--timeout', '5').returncode)

        # A broker appears.
        broker.start()
        report = node.wait_until(self.status, DEADLINE)
        assert isinstance(report, dict)
        found = conditions(report)
        self.assertEqual(HOST, report['host'])
        self.assertEqual('False/Disabled', found['NestedRuntime'])
        self.assertEqual('True/OptionEnabled', found['NestedPersistent'])
        self.assertEqual('True/HostPassthrough', found['GuestCPU'])

        def becomes(type_: str, wanted: str) -> None:
            def fact() -> bool:
                report = self.status()
                return report is not None and conditions(report)[type_] == wanted

            node.wait_until(fact, DEADLINE)

        node.run('modprobe -r kvm_amd && modprobe kvm_amd')
        becomes('NestedRuntime', 'True/Enabled')
        node.run('kvmprobe svm')
        node.write_file(NOVA_CONF, '[libvirt]\ncpu_mode = host-model\n', 0o640)
        becomes('GuestCPU', 'False/HostModelWithoutFlag')
        becomes('NovaConfigCurrent', 'False/RestartNeeded')
        node.run('systemctl restart nova-compute')
        done = self.control('verify', HOST, '--timeout', '120', '-f', 'json')
        self.assertEqual(1, done.returncode, done.stderr)
        self.assertEqual(
            'True/StartedAfterChange', conditions(json.loads(done.stdout))['NovaConfigCurrent']
        )

        # The broker goes and comes back.
        broker.stop()
        node.write_file(NOVA_CONF, '[libvirt]\ncpu_mode = host-passthrough\n', 0o640)
        node.wait_until(
            lambda: conditions(stored(node))['GuestCPU'] == 'True/HostPassthrough', DEADLINE
        )
        broker.start()
        becomes('GuestCPU', 'True/HostPassthrough')
        self.assertEqual('0', show(node, 'NRestarts'))


class SystemdTest(NodeTestCase):
    def test_its_life_under_systemd(self) -> None:
        node = self.node()
        install(node, unit='[Service]\nWatchdogSec=30\n')
        node.run(f'systemctl start {UNIT}', timeout=DEADLINE)
        self.assertEqual('drifted', show(node, 'StatusText'))
        pid = show(node, 'MainPID')

        configure(node, '[policy]\nnested = disabled')
        node.run(f'systemctl reload {UNIT}')
        node.wait_until(lambda: stored(node)['state'] == 'compliant', DEADLINE)
        configure(node, '[policy]\nnested = maybe')
        node.run(f'systemctl reload {UNIT}')
        node.wait_until(
            f'journalctl -u {UNIT} | grep -q "old configuration stays in force.*nested"', DEADLINE
        )
        self.assertEqual((pid, 'active'), (show(node, 'MainPID'), show(node, 'ActiveState')))
        self.assertEqual('disabled', stored(node)['policy']['nested'])
        configure(node)

        node.run(f'kill -9 {pid}')
        node.wait_until(lambda: show(node, 'NRestarts') == '1', DEADLINE)
        node.wait_until(lambda: show(node, 'ActiveState') == 'active', DEADLINE)
        pid = show(node, 'MainPID')
        self.assertEqual('enabled', stored(node)['policy']['nested'])

        # A loop that hangs: nothing of the process runs any more.
        node.run(f'kill -STOP {pid}')
        node.wait_until(lambda: show(node, 'NRestarts') == '2', DEADLINE)
        node.wait_until(lambda: show(node, 'ActiveState') == 'active', DEADLINE)
        self.assertIn('Watchdog timeout', node.run(f'journalctl -u {UNIT}').stdout)

        node.run(f'systemctl stop {UNIT}', timeout=DEADLINE)
        self.assertEqual('success', show(node, 'Result'))
        done = node.run('nested-agentctl status', check=False)
        self.assertEqual(4, done.returncode)
        self.assertIn('the agent was stopped', done.stdout + done.stderr)
