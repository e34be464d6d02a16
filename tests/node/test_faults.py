"""A fix while something is broken that nobody could foresee, or that stands in its way."""

import json
from typing import Any

from testtools.content import text_content

from tests.node import drifted, in_node
from tests.node.base import NodeTestCase
from tests.node.daemon import CONFIG
from tests.node.drifted import AFTER, BEFORE, MENDED_NAMES, NOVA_CONF

FAULT_CONF = '/etc/modprobe.d/fault.conf'
UNIT = '/lib/systemd/system/nova-compute.service'
OVER_NOVA = (
    'cp -a /etc/nova /root/nova; mount -t tmpfs -o {} tmpfs /etc/nova; cp -a /root/nova/. /etc/nova'
)
# By name: a command that breaks something, one that repairs it, what the fix has to say of it, and
# whether the module was mended all the same.
FAULTS = {
    'no blocks left for nova.conf': (
        OVER_NOVA.format('size=64k') + '; dd if=/dev/zero of=/etc/nova/full bs=4k || true',
        'umount /etc/nova; rm -r /root/nova',
        (NOVA_CONF, 'no space is left'),
        False,
    ),
    # Which nobody looks at before it is too late.
    'no inodes left for nova.conf': (
        OVER_NOVA.format('nr_inodes=8')
        + '; for i in 1 2 3 4 5 6 7 8; do touch /etc/nova/full.$i || true; done',
        'umount /etc/nova; rm -r /root/nova',
        (NOVA_CONF, 'no space is left'),
        True,
    ),
    'no space left for the journal': (
        'mkdir -p /var/lib/nested-agent; mount -t tmpfs -o size=8k tmpfs /var/lib/nested-agent; '
        'dd if=/dev/zero of=/var/lib/nested-agent/full bs=4k || true',
        'umount /var/lib/nested-agent',
        ('/var/lib/nested-agent', 'No space left'),
        False,
    ),
    'modprobe.d is read-only': (
        'mount --bind /etc/modprobe.d /etc/modprobe.d; mount -o remount,bind,ro /etc/modprobe.d',
        'umount /etc/modprobe.d',
        (drifted.MODPROBE_DROPIN, 'mounted read-only'),
        False,
    ),
    'nova.conf is mounted over': (
        f'cp -a {NOVA_CONF} /root/nova.conf; mount --bind /root/nova.conf {NOVA_CONF}',
        f'umount {NOVA_CONF}; rm /root/nova.conf',
        (NOVA_CONF, 'mount point'),
        False,
    ),
    'the unit has vanished': (
        f'mv {UNIT} /root; systemctl daemon-reload',
        f'mv /root/{UNIT.rpartition("/")[2]} {UNIT}; systemctl daemon-reload',
        ('nova-compute.service', 'could not be started again'),
        False,
    ),
    # kmod runs it between the unload and the load; see also test_remediate.py.
    'modprobe hangs': (
        f'echo "softdep kvm_amd pre: fault\ninstall fault /bin/sleep 3600" > {FAULT_CONF}',
        f'rm {FAULT_CONF}; ! pgrep -x sleep',
        ('modprobe kvm_amd', 'no answer within'),
        False,
    ),
}


class FaultTest(NodeTestCase):
    def test_each_ends_well(self) -> None:
        node = self.node()
        drifted.drift(node)
        node.write_file(CONFIG, '[remediation]\nnova_settle = 0\n')
        in_node.install(node)
        commands = {name: fault[:2] for name, fault in FAULTS.items()}
        done = node.run(in_node.command('faults'), stdin=json.dumps(commands), timeout=1800)
        self.addDetail('lines', text_content(done.stdout))
        self.addDetail('log', text_content(done.stderr))
        came = {told['fault']: told for told in map(json.loads, done.stdout.splitlines())}
        self.assertEqual(FAULTS.keys(), came.keys())
        for name, (_, _, words, module) in FAULTS.items():
            self.assert_ended_well(name, came[name], words, module=module)

        # What was broken is not any more.
        done = node.run(in_node.command('faults'), stdin='{"nothing": ["", ""]}', timeout=600)
        told = json.loads(done.stdout)
        self.assertEqual(
            ('applied', AFTER, '1\n'), (told['run'], told['nova_conf'], told['nested'])
        )

    def assert_ended_well(
        self, name: str, told: dict[str, Any], words: tuple[str, ...], *, module: bool
    ) -> None:
        where = json.dumps(told, indent=1)
        said = told.get('message') or told.get('refused') or ''
        for word in words:
            self.assertIn(word, said, where)
        self.assertIn(told.get('run'), ('failed', None), where)
        self.assertEqual(BEFORE, told['nova_conf'], where)
        self.assertEqual('1\n' if module else '0\n', told['nested'], where)
        self.assertEqual(module, told['dropin'] is not None, where)
        self.assertEqual('active', told['nova'], where)
        device = told['access'][1]
        self.assertEqual(0o20660, device and device[2], where)
        ours = {each for each in told['names'] if '.nested-agent' in each}
        self.assertLessEqual(ours, {*MENDED_NAMES} if module else set(), where)
        self.assertNotIn('journal.json', told['records'], where)
        self.assertTrue(told['beginning'], where)
