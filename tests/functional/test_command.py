"""The installed command on the real host the tests run on, as whoever runs them."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from oslotest import base

COMMAND = Path(sys.executable).with_name('nested-agentctl')


class CommandTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix='nested-agent-command-')
        self.addCleanup(directory.cleanup)
        self.conf = Path(directory.name) / 'nested-agent.conf'
        self.state_dir = Path(directory.name) / 'state'
        self.state_dir.mkdir()
        self.conf.write_text(f'[agent]\nstate_dir = {self.state_dir}\nrun_dir = {directory.name}\n')

    def run_command(self, *arguments, **how):
        how = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True, **how}
        return subprocess.run(
            [COMMAND, '--config-file', self.conf, *arguments], timeout=300, check=False, **how
        )

    def test_this_host_is_verified(self):
        done = self.run_command('check', '-f', 'json')
        self.assertIn(done.returncode, range(5), done.stderr)
        self.assertEqual('', done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(9, len(report['conditions']))
        self.assertEqual(os.uname().release, report['observation']['kernel']['release'])
        boot_id = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
        self.assertEqual(boot_id, report['boot_id'])
        self.assertTrue(report['observation']['live'])

    def test_a_reader_that_goes_away_changes_no_answer(self):
        state = self.run_command('check').returncode
        read, write = os.pipe()
        os.close(read)
        done = self.run_command('check', stdout=write)
        os.close(write)
        self.assertEqual(state, done.returncode)

    def test_nothing_is_changed(self):
        watched = [Path('/etc/modprobe.d'), Path('/etc/nova'), Path('/sys/module')]

        def snapshot():
            return {
                str(path): path.lstat().st_mtime_ns
                for top in watched
                if top.exists()
                for path in (top, *top.iterdir())
            }

        before = snapshot()
        state = self.run_command('check').returncode
        for command in (['plan'], ['remediate', '--noop']):
            done = self.run_command(*command, '-f', 'json')
            self.assertEqual(state, done.returncode, done.stderr)
            json.loads(done.stdout)
        self.assertEqual(before, snapshot())
        self.assertEqual(0, self.run_command('history').returncode)

    def test_what_was_paused_is_told(self):
        if os.geteuid() != 0:
            self.assertEqual(77, self.run_command('resume').returncode)
            return
        pause = ['pause', '--for', '1h', '--reason', 'new disk']
        self.assertEqual(0, self.run_command(*pause).returncode)
        out = self.run_command('check').stdout
        self.assertRegex(out, r'\nPaused until 20.* by .*@.*: new disk\n')
        self.assertEqual(0, self.run_command('resume').returncode)
        self.assertNotIn('new disk', self.run_command('check').stdout)
