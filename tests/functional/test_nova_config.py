"""nova-compute's configuration as read here against oslo.config run the way nova runs it.

The other side is a process of its own that is chrooted to the tree, with real argv, environment,
home and working directory, and Nova's own registration of the options (nova 34).
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies
from oslotest import base

from nested_agent.facts import (
    Location,
    NovaCompute,
    NovaProcess,
    Occurrence,
    Setting,
    Unread,
)
from nested_agent.node import nova
from nested_agent.node.root import Root
from tests.unit.fakes import FakeRoot, write_tree

# Answers each line of JSON on its input from a child of its own.
NOVA = r"""
import json, os, sys, tempfile
from oslo_config import cfg, types

def load(argv):
    conf = cfg.ConfigOpts()
    conf.register_opts([
        cfg.StrOpt('virt_type', default='kvm', choices=('kvm', 'lxc', 'qemu', 'parallels')),
        cfg.StrOpt('cpu_mode', choices=[
            ('host-model', ''), ('host-passthrough', ''), ('custom', ''), ('none', '')]),
        cfg.ListOpt('cpu_models', deprecated_name='cpu_model', default=[]),
        cfg.ListOpt('cpu_model_extra_flags', item_type=types.String(ignore_case=True), default=[]),
    ], group=cfg.OptGroup('libvirt'))
    conf.register_opts([
        cfg.HostDomainOpt('host', default='this-node'),
        cfg.StrOpt('compute_driver'),
        cfg.StrOpt('my_ip', default='192.0.2.1'),
    ])
    conf.register_cli_opts([cfg.BoolOpt('debug', short='d'), cfg.StrOpt('log-file')])
    conf(argv, project='nova', version='34.0.0')
    values = {}
    for group, names in (('libvirt', ('virt_type', 'cpu_mode', 'cpu_models',
                                      'cpu_model_extra_flags')),
                         (None, ('host', 'compute_driver'))):
        for name in names:
            try:
                value = getattr(getattr(conf, group) if group else conf, name)
            except Exception as error:
                value = {'error': type(error).__name__}
            values[(group or 'DEFAULT') + '.' + name] = value
    return values

sys.argv = ['/usr/bin/nova-compute']
os.environ.clear()
with tempfile.NamedTemporaryFile('w') as file:  # imports whatever it imports late
    file.write('[libvirt]\ncpu_model=x\n')
    file.flush()
    load(['--config-file=' + file.name, '--config-dir=/dev'])
for line in sys.stdin:
    case = json.loads(line)
    if os.fork() == 0:
        os.dup2(os.open('/dev/null', os.O_WRONLY), 2)
        os.environ.update(case['environment'], HOME='/home/nova')
        os.chroot(case['root'])
        os.chdir('/home')
        try:
            answer = load(case['arguments'])
        except BaseException as error:
            answer = type(error).__name__
        print(json.dumps(answer), flush=True)
        os._exit(0)
    os.wait()
"""

PATHS = (
    *('/home/nova/.nova/nova.conf', '/home/nova/nova-compute.conf', '/etc/nova/nova.conf'),
    *('/etc/nova.conf', '/etc/nova/nova-compute.conf', '/etc/nova-compute.conf'),
    *('/etc/nova/nova.conf.d/10.conf', '/etc/nova/nova.conf.d/9.conf', '/etc/nova/nova.conf.d/9'),
    *('/etc/nova/nova.conf.d/.x.conf', '/etc/nova-compute.conf.d/a.conf', '/home/rel.conf'),
    *('/d/a.conf', '/d/B.conf', '/a.conf', '/b.conf'),
)
GOOD = (
    *('[DEFAULT]', '[libvirt]', '[libvirt]', '[LibVirt]', '[default]', '[x]', '', '# c', '; c'),
    *('cpu_mode=custom', 'cpu_mode = none', 'cpu_mode: "host-model"', "cpu_mode='custom'"),
    *('virt_type=qemu', 'virt_type = kvm', 'cpu_models=A, B', 'cpu_models =', 'cpu_models=C,'),
    *('cpu_model=D', 'cpu_model=E,F', 'cpu-models=x', 'CPU_MODELS=x', 'cpu_models=$virt_type,$$,'),
    *('cpu_model_extra_flags=+VMX,pcid', 'host=n1', 'host=a_b.c', 'compute_driver=l.D'),
    *('compute_driver=${libvirt.cpu_mode}', 'cpu_models=\\$x', 'cpu_models=a:b=c', 'debug=true'),
)
# Not config_file=: before a --config-file argument oslo.config itself falls over it
# (AttributeError), and which file came from an argument is no longer known when it is evaluated.
BAD = (
    *(' more', '[x', ' [libvirt]', '[libvirt] # c', '[]', '\ufeff', '=', 'word', '\r'),
    *('shell_completion=fish', 'config_dir=/x', '\xe9', 'cpu_models=\u2028,\x0bz'),
)
# A file that holds one is read all the same; with those above most are refused.
BAD_VALUES = (
    *('cpu_mode=', 'cpu_mode=Custom', 'cpu_mode=custom # x', 'cpu_mode=$cpu_mode', 'virt_type="'),
    *('cpu_models=$my_ip', 'cpu_models=$nothing', 'cpu_models=$host', 'cpu_mode=${libvirt}'),
    'host=a b',
)
# Taken as text, and no name of anything.
NO_MODEL = b'[libvirt]\ncpu_models =\n [libvirt]'
NO_DRIVER = b'[DEFAULT]\ncompute_driver=${libvirt.cpu_mode}\n[libvirt]\ncpu_mode=host-model'
LINES = strategies.lists(
    strategies.one_of(
        *[strategies.sampled_from(GOOD)] * 22,
        *[strategies.sampled_from(BAD_VALUES)] * 5,
        strategies.sampled_from(BAD),
    ),
    max_size=9,
).map(lambda lines: '\n'.join(['[libvirt]', *lines]))
CONTENT = strategies.one_of(
    LINES.map(str.encode),
    LINES.map(lambda text: text.replace('\n', '\r\n').encode()),
    LINES.map(lambda text: text.encode('latin-1', 'replace')),
)
# What most arguments name is there, so that not every other case is about a missing file.
THERE = {'/a.conf': b'', '/b.conf': b'', '/home/rel.conf': b'', '/d/a.conf': b''}
ARGUMENTS = strategies.lists(
    strategies.sampled_from(
        (
            *(['--config-file=/a.conf'], ['--config-file', '/b.conf'], ['--config-f=/a.conf']),
            *(['--config-file=rel.conf'], ['--config-file=~/nova-compute.conf'], ['--debug']),
            *(['--config-dir=/d'], ['--config-dir', '/d/'], ['--config-d', '/d'], ['-d']),
            *(['--log-file', '/x'], ['--config-file=/d'], ['--config-dir=/a.conf']),
            *(['--config-file=/etc/../b.conf'], ['--config-dir=/missing'], ['--config=x']),
        )
    ),
    max_size=4,
).map(lambda words: [word for pair in words for word in pair])
ENVIRONMENT = strategies.dictionaries(
    strategies.sampled_from(
        ('OS_LIBVIRT__CPU_MODE', 'OS_LIBVIRT__CPU_MODELS', 'OS_LIBVIRT__CPU_MODEL', 'OS_LIBVIRT')
    ),
    strategies.sampled_from(('custom', 'none', 'X,Y', '', '$virt_type', 'kvm')),
    max_size=2,
)


@unittest.skipUnless(os.geteuid() == 0, 'chroot needs root')
class DifferentialTest(base.BaseTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nova = subprocess.Popen(
            [sys.executable, '-c', NOVA],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.nova.communicate)
        #: How often each kind of answer came, to see that both were tried.
        self.answers = {'values': 0, 'refused': 0, 'invalid': 0}

    def theirs(self, root: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Any:
        assert self.nova.stdin is not None and self.nova.stdout is not None
        case = {'root': root, 'arguments': arguments, 'environment': environment}
        self.nova.stdin.write(json.dumps(case) + '\n')
        self.nova.stdin.flush()
        return json.loads(self.nova.stdout.readline())

    def test_same_values(self) -> None:
        # The generator may drift into one corner, and must not have stayed there.
        for _ in range(4):
            self.compare()
            if min(self.answers.values()) > 20:
                break
        for kind, count in self.answers.items():
            self.assertGreater(count, 20, (kind, self.answers))

    @hypothesis.example({PATHS[0]: NO_MODEL}, [], {})
    @hypothesis.example({PATHS[0]: NO_DRIVER}, [], {})
    @hypothesis.settings(max_examples=500, deadline=None)
    @hypothesis.given(
        strategies.dictionaries(strategies.sampled_from(PATHS), CONTENT, max_size=6),
        ARGUMENTS,
        ENVIRONMENT,
    )
    def compare(
        self,
        files: Mapping[str, bytes],
        arguments: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        files = {**THERE, **files}
        with tempfile.TemporaryDirectory() as directory:
            write_tree(Path(directory), {**_process(arguments, environment), **files})
            ours = nova.read(FakeRoot(Path(directory)))
            theirs = self.theirs(directory, arguments, environment)
        assert isinstance(ours, NovaCompute)
        if isinstance(ours.settings, Unread):
            self.assertIsInstance(theirs, str, str(ours.settings))
            self.answers['refused'] += 1
            return
        self.assertIsInstance(theirs, dict, str(theirs))
        for name, setting in ours.settings.items():
            self.compare_setting(name, setting.value, theirs[name])
            for occurrence in setting.occurrences:
                where = occurrence.where
                text = files[where.file].decode().replace('\r\n', '\n').replace('\r', '\n')
                line = text.split('\n')[where.line - 1]
                self.assertTrue(line.startswith(occurrence.name.partition('.')[2]), (line, setting))
            if isinstance(setting.where, Location):
                self.assertIn(setting.where, [each.where for each in setting.occurrences])
        self.answers['values'] += 1

    def compare_setting(self, name: str, ours: object, theirs: object) -> None:
        if isinstance(ours, Unread) and ours.error == 'Unresolved':
            self.assertIn('refer', ours.detail)
        elif isinstance(ours, Unread) and ours.error == 'Implausible':
            odd = r'[^\w.]|^$' if name == 'DEFAULT.compute_driver' else r'[^\w.+-]|^$'
            words = theirs if isinstance(theirs, list) else [theirs]
            self.assertTrue(any(re.search(odd, word, re.ASCII) for word in words), theirs)
        elif isinstance(ours, Unread):
            self.assertIsInstance(theirs, dict, str(ours))
            self.answers['invalid'] += 1
        elif name == 'DEFAULT.host' and ours is None:
            self.assertEqual('this-node', theirs)
        else:
            self.assertEqual(theirs, list(ours) if isinstance(ours, tuple) else ours, name)


def _process(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, str | bytes]:
    argv = ['/usr/bin/python3', '/usr/bin/nova-compute', *arguments]
    return {
        '/home/nova/x': '',
        '/etc/passwd': 'nova:x:162:162::/home/nova:/bin/sh\n',
        '/proc/70/cmdline': '\0'.join([*argv, '']),
        '/proc/70/environ': '\0'.join(f'{key}={value}' for key, value in environment.items()),
        '/proc/70/status': 'Uid:\t162\t162\t162\t162\n',
        '/proc/70/cwd': '-> /home',
        '/proc/70/root': '-> /',
    }


class ProcessTest(base.BaseTestCase):
    """A real process that looks like nova-compute, in the real /proc."""

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.script = Path(self.directory, 'nova-compute')
        self.script.write_text('import time\nprint(flush=True)\ntime.sleep(60)\n')
        Path(self.directory, 'n.conf').write_text('[libvirt]\ncpu_mode = custom\n')

    def compute(self, *arguments: str, before: Sequence[str] = ()) -> NovaCompute:
        """Return what is found while it runs.

        :param before: the command that becomes it
        """
        process = subprocess.Popen(
            [*before, sys.executable, '-s', self.script, *arguments],
            cwd=self.directory,
            env={'OS_LIBVIRT__VIRT_TYPE': 'qemu', 'SECRET': 'hunter2'},
            stdout=subprocess.PIPE,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        process.stdout.readline()
        root = Root('/')
        root.pids = lambda: iter((1, process.pid))  # no other test's
        compute = nova.read(root)
        assert isinstance(compute, NovaCompute)
        return compute

    def test_found_with_its_facts(self) -> None:
        before = time.time()
        compute = self.compute('--config-file=n.conf', '--config-dir', self.directory)
        after = time.time()
        assert isinstance(compute.process, NovaProcess)
        assert isinstance(compute.process.started, float)
        self.assertTrue(before - 0.05 < compute.process.started < after + 0.05)
        self.assertEqual({'OS_LIBVIRT__VIRT_TYPE': 'qemu'}, compute.process.environment)
        self.assertEqual('/', compute.root)
        conf = f'{self.directory}/n.conf'
        self.assertEqual([conf, conf], [file.path for file in compute.files][-2:])
        assert not isinstance(compute.settings, Unread)
        line = Location(conf, 2)
        twice = (Occurrence('libvirt.cpu_mode', line),) * 2
        self.assertEqual(Setting('custom', line, twice), compute.settings['libvirt.cpu_mode'])
        self.assertEqual(
            Setting('qemu', 'OS_LIBVIRT__VIRT_TYPE'), compute.settings['libvirt.virt_type']
        )
        self.assertNotIn('hunter2', repr(compute))

    def compute_with_mount(self, target: str) -> NovaCompute:
        """Return it as found with another n.conf that only it sees, mounted on a file."""
        Path(self.directory, 'theirs').write_text('[libvirt]\ncpu_mode = host-passthrough\n')
        Path(self.directory, 'other').touch()
        shell = ('/bin/sh', '-c', 'mount --bind theirs "$0" && exec "$@"', target)
        before = ('/usr/bin/unshare', '-m', *shell)
        return self.compute(f'--config-file={self.directory}/n.conf', before=before)

    @unittest.skipUnless(os.geteuid() == 0, 'mounts need root')
    def test_a_file_that_only_it_sees(self) -> None:
        compute = self.compute_with_mount('n.conf')
        assert isinstance(compute.process, NovaProcess)
        self.assertEqual(f'/proc/{compute.process.pid}/root', compute.root)
        assert not isinstance(compute.settings, Unread)
        self.assertEqual('host-passthrough', compute.settings['libvirt.cpu_mode'].value)

    @unittest.skipUnless(os.geteuid() == 0, 'mounts need root')
    def test_a_mount_that_changes_none_of_its_files(self) -> None:
        compute = self.compute_with_mount('other')
        self.assertEqual('/', compute.root)
        assert not isinstance(compute.settings, Unread)
        self.assertEqual('custom', compute.settings['libvirt.cpu_mode'].value)
