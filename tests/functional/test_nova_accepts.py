"""Nova's own code loads every edited configuration, and its libvirt driver starts with it."""

import difflib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from oslotest import base

from nested_agent.facts import NovaCompute, Unread
from nested_agent.policy import FixCPUMode, Nested, Policy
from tests.functional import nova_venv
from tests.unit.edited_node import EditedNode
from tests.unit.nodes import Node, amd, intel, nova_process

CONF = '/etc/nova/nova.conf'
COMPUTE = '/etc/nova/nova-compute.conf'
DIST = '/usr/share/nova/nova-dist.conf'
CPU = '/etc/nova/nova-cpu.conf'
DIRECTORY = '/etc/nova/nova-compute.conf.d'
CUSTOM = '[libvirt]\nvirt_type = kvm\ncpu_mode = custom\ncpu_models = Nehalem\n'
LEFT_BEHIND = '[libvirt]\ncpu_mode = host-passthrough\ncpu_models = Nehalem\n'
DEBIAN = (f'--config-file={CONF}', f'--config-file={COMPUTE}')
KEEP = Policy(fix_cpu_mode=FixCPUMode.KEEP)
HOST_MODEL = Policy(cpu_mode='host-model')
DISABLED = Policy(Nested.DISABLED)


class Layout(NamedTuple):
    """A deployment's files, what nova-compute is started with, and the policy of the node."""

    files: Mapping[str, str | None]
    arguments: Sequence[str] = ()
    policy: Policy = Policy()
    node: Any = amd


LAYOUTS = {
    'Debian, custom model': Layout({CONF: CUSTOM, COMPUTE: '[libvirt]\nvirt_type=kvm\n'}, DEBIAN),
    'Debian, models left behind': Layout({CONF: LEFT_BEHIND, COMPUTE: '[DEFAULT]\n'}, DEBIAN),
    'Debian, models in both files': Layout(
        {
            CONF: '[libvirt]\r\ncpu_model = Haswell\r\ncpu_mode=custom\r\n',
            COMPUTE: '[LibVirt]\ncpu_models: EPYC,\n  EPYC-Rome\n[libvirt]\ncpu_mode=custom',
        },
        DEBIAN,
    ),
    'Debian, nothing set': Layout({CONF: '', COMPUTE: ''}, DEBIAN),
    'Debian, no KVM': Layout({CONF: '[libvirt]\nvirt_type = qemu\ncpu_mode = none\n'}, DEBIAN),
    'RDO': Layout({DIST: '[libvirt]\ncpu_mode = host-model\n', CONF: '', COMPUTE: None}),
    'RDO, directory': Layout(
        {DIST: '[DEFAULT]\n', COMPUTE: None, CONF: '[x]\n', f'{DIRECTORY}/10.conf': '[x]\n'}
    ),
    'directory, models': Layout(
        {CONF: CUSTOM, f'{DIRECTORY}/10.conf': '[libvirt]\ncpu_models=EPYC\n'},
        (f'--config-file={CONF}', f'--config-dir={DIRECTORY}'),
    ),
    'DevStack': Layout({CPU: f'[DEFAULT]\nhost = n1\n\n{CUSTOM}'}, (f'--config-file={CPU}',)),
    'keep the mode, AMD': Layout({CONF: '[libvirt]\ncpu_mode=host-model\n'}, DEBIAN, KEEP),
    'keep a model, Intel': Layout({CONF: CUSTOM}, DEBIAN, KEEP, intel),
    'host-model asked for': Layout({CONF: CUSTOM}, DEBIAN, HOST_MODEL),
    'disabled, flag required': Layout(
        {CONF: '[libvirt]\ncpu_mode = host-model\ncpu_model_extra_flags = pcid, SVM\n'},
        DEBIAN,
        DISABLED,
    ),
}
#: A whole file as Nova documents it, with every option commented out.
SAMPLE = """
import sys
from oslo_config import generator
generator.main(['--namespace', 'nova.conf', '--output-file', sys.argv[1]])
"""


class AcceptsTest(base.BaseTestCase):
    python: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.python = nova_venv.python()

    def setUp(self) -> None:
        super().setUp()
        script = Path(__file__).with_name('nova_loads.py')
        self.nova = subprocess.Popen(
            [self.python, '-I', '-W', 'ignore', script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.nova.communicate)

    def answer(self, arguments: Sequence[str]) -> Any:
        assert self.nova.stdin is not None and self.nova.stdout is not None
        self.nova.stdin.write(json.dumps(arguments) + '\n')
        self.nova.stdin.flush()
        return json.loads(self.nova.stdout.readline())

    def node(self, layout: Layout) -> EditedNode:
        files: dict[str, str | None] = dict(nova_process(ticks=500100))
        argv = ['/usr/bin/python3', '/usr/bin/nova-compute', *layout.arguments]
        files['/proc/700/cmdline'] = '\0'.join([*argv, ''])
        node: Node = layout.node(files={**files, **layout.files})
        return EditedNode(self, node, layout.policy)

    def load(self, node: EditedNode, layout: Layout) -> Any:
        """Return what Nova makes of the node's files, found as its own process finds them."""
        base = str(node.base)
        if layout.arguments:
            return self.answer([each.replace('=/', f'={base}/') for each in layout.arguments])
        compute = node.judged().observation.nova
        assert isinstance(compute, NovaCompute)
        return self.answer([f'--config-file={base}{each.path}' for each in compute.files])

    def check(self, layout: Layout) -> None:
        node = self.node(layout)
        steps = node.edits()
        self.assertNotEqual([], steps)
        node.kept(steps)
        compute = node.judged().observation.nova
        assert isinstance(compute, NovaCompute) and not isinstance(compute.settings, Unread)
        ours = {
            name.partition('.')[2]: list(x.value) if isinstance(x.value, tuple) else x.value
            for name, x in compute.settings.items()
            if name.startswith('libvirt.')
        }
        self.assertEqual({'values': ours}, self.load(node, layout))

    def test_every_layout(self) -> None:
        for name, layout in LAYOUTS.items():
            try:
                self.check(layout)
            except Exception as error:
                raise AssertionError(f'{name}: {error}') from error

    def test_a_file_with_everything_nova_documents(self) -> None:
        layout = Layout({CONF: '', COMPUTE: '[DEFAULT]\n'}, DEBIAN)
        node = self.node(layout)
        sample = node.base / CONF[1:]
        command = [self.python, '-I', '-W', 'ignore', '-c', SAMPLE, sample]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        text = sample.read_text().replace('#cpu_mode = <None>', 'cpu_mode = custom')
        text = text.replace('#cpu_models =', 'cpu_models = Nehalem').replace(
            '#virt_type', 'virt_type'
        )
        self.assertGreater(len(text.splitlines()), 5000)
        sample.write_text(text)
        node.kept(node.edits())
        before, after = (each.splitlines() for each in (text, sample.read_text()))
        self.assertEqual(
            ['+ cpu_mode = host-passthrough', '- cpu_mode = custom', '- cpu_models = Nehalem'],
            sorted(each for each in difflib.ndiff(before, after) if each[0] in '+-'),
        )
        self.assertEqual('host-passthrough', self.load(node, layout)['values']['cpu_mode'])

    def test_what_would_keep_nova_from_starting_is_refused(self) -> None:
        """Or the other tests could not fail."""
        layout = LAYOUTS['Debian, models left behind']
        self.assertIn(
            'cpu_models option is not required', self.load(self.node(layout), layout)['refused']
        )
        bad = Layout({CONF: '[libvirt]\ncpu_mode = Custom\n'}, DEBIAN)
        self.assertIn('ConfigFileValueError', self.load(self.node(bad), bad)['refused'])
