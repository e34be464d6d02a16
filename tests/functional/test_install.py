"""tools/install.sh: what it puts where, what it never touches, and that it takes all of it away."""

import shutil
import subprocess
from pathlib import Path

import fixtures
from oslotest import base

from tests.functional.daemon import COMMANDS

CHECKOUT = Path(__file__).parents[2]
TOOL = CHECKOUT / 'tools' / 'install.sh'
LOGROTATE = 'etc/logrotate.d/nested-agent'
UNIT = 'usr/local/lib/systemd/system/nested-agent.service'
COMPLETION = 'usr/local/share/bash-completion/completions/nested-agentctl'
PLACED = {
    LOGROTATE,
    UNIT,
    COMPLETION,
    'usr/local/share/nested-agent/report-only.conf',
    'usr/local/share/nested-agent/prometheus/nested-agent.rules.yml',
    'usr/local/share/nested-agent/grafana/nested-agent.json',
    *(str(each.relative_to(CHECKOUT)) for each in CHECKOUT.glob('etc/nested-agent/*.sample')),
    *(
        f'usr/local/lib/systemd/system/{each.name}'
        for each in CHECKOUT.glob('etc/systemd/*.service')
    ),
}
LINKS = {f'usr/local/bin/{each.name}' for each in COMMANDS.glob('nested-*')}
# In place of what the package bash-completion gives: words as bash splits them at blanks.
COMPLETE = """\
_get_comp_words_by_ref() { words=("${line[@]}"); cur=${line[-1]}; prev=${line[-2]}; }
source "$0"
complete -p nested-agentctl > /dev/null
line=("$@")
_nested_agentctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


class InstallCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.root = Path(self.useFixture(fixtures.TempDir()).path, 'root')

    def install(self, *options, code=0):
        command = [TOOL, f'--destdir={self.root}', *(options or [f'--bindir={COMMANDS}'])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def files(self):
        """Return the files, without what pip puts there."""
        return {
            str(path.relative_to(self.root))
            for path in self.root.rglob('*')
            if not path.is_dir() and not path.match('man/man?/*')
        }

    def content(self):
        return {name: (self.root / name).read_bytes() for name in self.files()}


class InstallTest(InstallCase):
    def test_everything_is_in_place_and_for_everybody_to_read(self):
        said = self.install()
        self.assertEqual(PLACED, self.files())
        for name in PLACED:
            self.assertIn(name, said)
            self.assertEqual(0o644, (self.root / name).stat().st_mode & 0o7777, name)
        self.assertTrue((self.root / 'etc/nested-agent/nested-agent.conf.d').is_dir())
        unit = (self.root / UNIT).read_text()
        self.assertIn(f'\nExecStart={COMMANDS}/nested-agent\n', unit)
        ours = (CHECKOUT / 'etc/systemd/nested-agent.service').read_text()
        self.assertEqual(ours, unit.replace(f'{COMMANDS}/', '/usr/bin/'))

    def test_again_changes_nothing(self):
        self.install()
        before = self.content()
        self.install()
        self.assertEqual(before, self.content())

    def test_where_a_package_puts_it(self):
        self.install('--prefix=/usr', f'--bindir={COMMANDS}')
        wanted = {name.replace('usr/local/', 'usr/') for name in PLACED}
        self.assertEqual(wanted, self.files())

    def test_a_virtual_environment(self):
        venv = COMMANDS.parent
        self.install(f'--venv={venv}')
        self.assertIn('usr/local/bin/nested-agentctl', LINKS)
        self.assertEqual(PLACED | LINKS, self.files())
        for link in LINKS:
            target = (self.root / link).readlink()
            self.assertEqual(venv / 'bin' / Path(link).name, target)
        self.assertIn(f'ExecStart={venv}/bin/nested-agent\n', (self.root / UNIT).read_text())
        self.install(f'--venv={venv}', '--remove')
        self.assertEqual(set(), self.files())

    def test_what_the_operator_wrote_is_kept(self):
        self.install()
        written = {
            'etc/nested-agent/nested-agent.conf': 'ours',
            'etc/nested-agent/nested-agent.conf.d/50-site.conf': 'ours',
            'etc/systemd/system/nested-agent.service.d/site.conf': 'ours',
            LOGROTATE: 'edited',
            'var/lib/nested-agent/changes.json': '{}',
        }
        for name, text in written.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        for options, there in ((), PLACED | written.keys()), (('--remove',), written.keys()):
            said = self.install(f'--bindir={COMMANDS}', *options)
            self.assertEqual(there, self.files())
            for name, text in written.items():
                self.assertEqual(text, (self.root / name).read_text())
            self.assertIn(f'{LOGROTATE}: ', said)

    def test_removed_without_a_trace(self):
        before = self.root / 'etc' / 'hostname'
        before.parent.mkdir(parents=True)
        before.write_text('node1\n')
        self.install()
        self.install('--remove')
        self.assertEqual({'etc/hostname'}, self.files())
        self.assertFalse((self.root / 'etc/nested-agent').exists())
        self.assertFalse((self.root / 'usr/local/share/nested-agent').exists())
        self.install('--remove')

    def test_somebody_else_s_link_is_kept(self):
        venv = COMMANDS.parent
        self.install(f'--venv={venv}')
        link = self.root / 'usr/local/bin/nested-agent'
        link.unlink()
        link.symlink_to('/opt/other/nested-agent')
        self.install(f'--venv={venv}', '--remove')
        self.assertEqual({'usr/local/bin/nested-agent'}, self.files())

    def test_without_the_package_nothing_is_installed(self):
        said = self.install('--bindir=/nonexistent/bin', code=1)
        self.assertIn('install the package with pip first', said)
        self.assertEqual(set(), self.files())

    def test_a_wrong_command_line(self):
        for option in ('--purge', '--prefix=usr', 'install', '--venv'):
            self.install(option, code=64)
        self.assertIn('usage: ', self.install('--help'))
        self.assertEqual(set(), self.files())


class CompletionTest(InstallCase):
    def complete(self, *words):
        done = subprocess.run(
            ['bash', '-ec', COMPLETE, self.root / COMPLETION, 'nested-agentctl', *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual('', done.stderr)
        return set(done.stdout.split())

    def test_commands_and_options(self):
        self.install()
        self.assertEqual({'remediate', 'resume', 'revert'}, self.complete('re'))
        self.assertEqual({'--root'}, self.complete('check', '--ro'))
        self.assertEqual({'--for', '--format', '--fit-width'}, self.complete('pause', '--f'))


class LogrotateTest(InstallCase):
    def test_a_log_is_rotated(self):
        directory = self.root / 'log'
        directory.mkdir(parents=True)
        log = directory / 'nested-agent.log'
        log.write_text('a line\n')
        text = (CHECKOUT / LOGROTATE).read_text()
        mine = self.root / 'logrotate.conf'
        # Its own user: who runs the tests need not be root.
        mine.write_text(
            text.replace('/var/log/nested-agent', str(directory)).replace(
                'create 0640 root root', 'create 0640'
            )
        )
        logrotate = shutil.which('logrotate', path='/usr/sbin:/sbin:/usr/bin')
        if logrotate is None:
            self.skipTest('there is no logrotate')
        subprocess.run(
            [logrotate, '--force', '--state', self.root / 'state', mine],
            check=True,
            capture_output=True,
            timeout=60,
        )
        self.assertEqual('', log.read_text())
        self.assertEqual('a line\n', (directory / 'nested-agent.log.1').read_text())
