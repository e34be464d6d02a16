"""The unit's fence in a node with the real kvm_amd: every feature works in it, and it holds."""

import json
from typing import Any

from testtools.content import text_content

from tests.node import drifted
from tests.node.bed.bed import UNSUPPORTED
from tests.node.bed.node import Node
from tests.node.daemon import CHECKOUT, DEADLINE, UNIT, conditions, configure, install, show, stored
from tests.node.drifted import AFTER, NOVA, NOVA_CONF
from tests.node.enforced import ENFORCE, RemediateTestCase

REPORT_ONLY = (CHECKOUT / 'etc' / 'systemd' / 'report-only.conf').read_text()
#: Takes the last capabilities as well.
BLIND = f'{REPORT_ONLY}CapabilityBoundingSet=\n'
HALT_POLL = '/sys/module/kvm/parameters/halt_poll_ns'
#: Of Debian's prometheus-node-exporter, which this node has not: belongs to root.
METRICS = '/var/lib/prometheus/node-exporter'
# By what is tried in the fence: a shell command, and whether it has to work.
ATTEMPTS = {
    'write to the state directory': (': > /var/lib/nested-agent/fence', True),
    'write beside nova.conf': (': > /etc/nova/fence && rm /etc/nova/fence', True),
    'write beside modprobe.d': (': > /etc/modprobe.d/fence && rm /etc/modprobe.d/fence', True),
    'write metrics': (f': > {METRICS}/fence', True),
    'write a parameter of a module': (
        f'cat {HALT_POLL} > /tmp/x && cat /tmp/x > {HALT_POLL}',
        True,
    ),
    'ask KVM': (': < /dev/kvm', True),
    'ask systemd': (f'systemctl show {NOVA}', True),
    'follow nova-compute to its files': (
        f'ls /proc/$(systemctl show -P MainPID {NOVA})/root/etc',
        True,
    ),
    'write elsewhere in /etc': (': > /etc/fence', False),
    'write to /usr': (': > /usr/bin/fence', False),
    'write to /run': ('mkdir /run/modprobe.d', False),
    'write to /root': (': > /root/fence', False),
    'look into /root': ('test -e /root/secret', False),
    'write to the real /tmp': ('test -e /tmp/secret', False),
    'change a kernel setting': ('echo 1 > /proc/sys/kernel/sysrq', False),
    'change a device': ('echo 0 > /sys/kernel/profiling', False),
    'write to a control group': ('mkdir /sys/fs/cgroup/fence', False),
    'read the disk': ('head -c 1 /dev/vda', False),
    'read the kernel log': ('head -c 1 /dev/kmsg', False),
    'mount': ('mount -t tmpfs tmpfs /tmp', False),
    'make a namespace': ('unshare --uts true', False),
    'change the host name': ('hostname fence', False),
    'set the clock': ('date --set=@0', False),
    'make a set-user-ID program': ('cp /bin/true /tmp/x && chmod u+s /tmp/x', False),
    'become another user': ('setpriv --reuid=1 --clear-groups true', False),
    'write memory that is run': ('python3 -c "import mmap; mmap.mmap(-1, 4096, prot=7)"', False),
    'open a packet socket': (
        'python3 -c "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"',
        False,
    ),
}


def attempt(node: Node, drop_in: str = '') -> dict[str, bool]:
    """Return which of the attempts succeeded for a program run by this very unit."""
    unit = (CHECKOUT / 'etc' / 'systemd' / UNIT).read_text()
    unit = unit.replace('Type=notify', 'Type=oneshot').replace('WatchdogSec=60', '')
    unit = unit.replace('Restart=on-failure', 'Restart=no')
    unit = unit.replace('/usr/bin/nested-agent', '/bin/sh /usr/local/bin/attempts')
    found = '/var/lib/nested-agent/attempts'
    script = [
        f'if ( {command} ) >/dev/null 2>&1; then echo yes; else echo no; fi'
        for command, _ in ATTEMPTS.values()
    ]
    node.write_file('/usr/local/bin/attempts', '\n'.join([f'exec > {found}', *script]))
    node.write_file('/etc/systemd/system/attempts.service', unit)
    if drop_in:
        node.write_file('/etc/systemd/system/attempts.service.d/50.conf', drop_in)
    node.run('echo 0 > /proc/sys/kernel/sysrq; touch /root/secret /tmp/secret')
    node.run(f'mkdir -p {METRICS}')
    node.run('systemctl daemon-reload && systemctl start attempts', timeout=DEADLINE)
    answers = node.read_file(found).split()
    return dict(zip(ATTEMPTS, (each == 'yes' for each in answers), strict=True))


class FenceTest(RemediateTestCase):
    def test_what_it_allows_and_what_not(self) -> None:
        node = self.node()
        self.assertEqual({name: works for name, (_, works) in ATTEMPTS.items()}, attempt(node))
        # All that changes something is gone, but what is reported can still be found out.
        kept = {
            'write to the state directory',
            'write metrics',
            'ask KVM',
            'ask systemd',
            'follow nova-compute to its files',
        }
        found = attempt(node, REPORT_ONLY)
        self.assertEqual(kept, {name for name, worked in found.items() if worked})

    def test_everything_works_in_it(self) -> None:
        """The rest of what an agent does in its unit: test_remediate.py, test_daemon.py."""
        node = self.drifted()
        # What is hardest to replace: files of another user, in a directory of his alone.
        node.run('chown -R nova:nova /etc/nova && chmod 700 /etc/nova && chmod 600 /etc/nova/*')
        node.run(f'systemctl restart {NOVA}')
        node.run(f'echo 12345 > {HALT_POLL}')
        # No /dev/kvm when the unit is started.
        node.run('modprobe -r kvm_amd && udevadm settle')
        node.run(['test', '!', '-e', '/dev/kvm'])
        self.start(node)
        self.becomes(node, 'compliant', KVMUsable='True/Usable')
        self.assertEqual(AFTER, node.read_file(NOVA_CONF))
        self.assertEqual('nova:nova 600', drifted.owner_and_mode(node, NOVA_CONF))
        self.assertEqual('host-passthrough', drifted.last_start(node)['cpu_mode'])
        self.assertTrue(drifted.nested_guest_runs(node))

        # And back, with a parameter that somebody set meanwhile.
        node.run(f'echo 12345 > {HALT_POLL}')
        self.reconfigure(node, f'{ENFORCE}[policy]\nnested = disabled\n')
        node.wait_until(lambda: stored(node)['policy']['nested'] == 'disabled', DEADLINE)
        self.becomes(node, 'compliant')
        self.assertEqual('12345', node.read_file(HALT_POLL).strip())
        self.reconfigure(node, ENFORCE)
        node.wait_until(lambda: stored(node)['policy']['nested'] == 'enabled', DEADLINE)
        self.becomes(node, 'compliant')

        # The command, beside the daemon.
        done = node.run('nested-agentctl prove -f json', timeout=DEADLINE)
        self.assertEqual('proved', json.loads(done.stdout)['outcome'])
        self.becomes(node, 'compliant', NestedProved='True/Proved')
        self.assertEqual('0', show(node, 'NRestarts'))
        self.assert_frugal(node)

    def assert_frugal(self, node: Node) -> None:
        """Assert that all of that stayed far below the unit's limits."""
        group = f'/sys/fs/cgroup/system.slice/{UNIT}'
        memory = int(node.read_file(f'{group}/memory.peak'))
        tasks = int(node.read_file(f'{group}/pids.peak'))
        self.addDetail('peak', text_content(f'{memory} bytes, {tasks} tasks'))
        self.assertLess(memory, int(show(node, 'MemoryHigh')) / 2)
        self.assertLess(tasks, int(show(node, 'TasksMax')) / 2)
        events = node.read_file(f'{group}/memory.events')
        self.assertIn('high 0\nmax 0\noom 0\n', events)

    def test_the_kernel_log_is_read_from_the_journal(self) -> None:
        node = self.node(cpu=UNSUPPORTED)
        install(node)
        node.run(f'systemctl start {UNIT}', timeout=DEADLINE)
        firmware = stored(node)['observation']['firmware']
        self.assertEqual([], firmware['kernel_log'])


class ReportOnlyTest(RemediateTestCase):
    def facts(self, node: Node) -> tuple[str, dict[str, str], dict[str, Any]]:
        report = stored(node)
        return report['state'], conditions(report), report['observation']

    def restarted(self, node: Node, drop_in: str) -> tuple[str, dict[str, str], dict[str, Any]]:
        before = stored(node)['sequence'] if show(node, 'ActiveState') == 'active' else 0
        install(node, ENFORCE, drop_in)
        node.run(f'systemctl restart {UNIT}', timeout=DEADLINE)
        node.wait_until(lambda: stored(node)['sequence'] > before, DEADLINE)
        return self.facts(node)

    def blind(self, node: Node, known: dict[str, str]) -> dict[str, str]:
        """Return the conditions that are Unknown without capabilities, of those otherwise known."""
        _, found, _ = self.restarted(node, BLIND)
        unknown = {type_: told for type_, told in found.items() if told.startswith('Unknown')}
        return {type_: told for type_, told in unknown.items() if known.get(type_) != told}

    def test_it_knows_the_same_and_changes_nothing(self) -> None:
        node = self.drifted()
        node.run('chown -R nova:nova /etc/nova && chmod 700 /etc/nova && chmod 600 /etc/nova/*')
        node.run(['systemd-run', '--unit=hold', 'kvmprobe', 'hold', '3600'])
        node.wait_until('test "$(cat /sys/module/kvm_amd/refcnt)" != 0')
        nova, load = drifted.main_pid(node), drifted.load_of_module(node)
        done = node.run('nested-agentctl check -f json', check=False, timeout=DEADLINE)
        free = json.loads(done.stdout)

        state, found, observation = self.restarted(node, REPORT_ONLY)
        self.assertEqual('True/Off', found.pop('Remediable'))
        wanted = conditions(free)
        wanted.pop('Remediable')
        self.assertEqual((free['state'], wanted), (state, found))
        for fact in ('holders', 'kernel', 'cpu', 'next_load', 'firmware'):
            self.assertEqual(free['observation'][fact], observation[fact], fact)

        # Without the last capabilities: what the operator's guide lists.
        unreadable = {'GuestCPU': 'Unknown/Unreadable', 'VirtType': 'Unknown/Unreadable'}
        self.assertEqual(
            {**unreadable, 'NovaConfigCurrent': 'Unknown/Unreadable'}, self.blind(node, found)
        )
        self.assertGreater(stored(node)['observation']['holders']['unreadable'], 0)
        self.assertEqual(nova, drifted.main_pid(node))
        # And where nova.conf is root's, as the packages have it.
        node.run('chown -R root:nova /etc/nova && chmod 750 /etc/nova && chmod 640 /etc/nova/*')
        node.run(f'systemctl restart {NOVA}')
        nova = drifted.main_pid(node)
        self.assertEqual(unreadable, self.blind(node, found))

        # It would have been mended by now: the module waits, but not its drop-in.
        self.assertEqual(nova, drifted.main_pid(node))
        self.assertEqual(load, drifted.load_of_module(node))
        self.assertEqual(drifted.BEFORE, node.read_file(NOVA_CONF))
        self.assertEqual(drifted.NAMES, drifted.names(node))
        configure(node, '[remediation]\nmode = enforce\nsplay = 0\n')
        node.run(f'systemctl reload {UNIT}')
        node.wait_until(f'journalctl -u {UNIT} | grep -q "configuration reloaded"', DEADLINE)
        self.assertEqual('True/Off', conditions(stored(node))['Remediable'])
