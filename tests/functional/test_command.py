"""The installed command on the real host the tests run on, as whoever runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from oslotest import base

COMMAND = Path(sys.executable).with_name('nested-agentctl')


class CommandTest(base.BaseTestCase):
    def run_command(self, *arguments, **how):
        return subprocess.run(
            [COMMAND, *arguments], capture_output=True, text=True, timeout=300, check=False, **how
        )

    def test_this_host_is_verified(self):
        done = self.run_command('check', '-f', 'json')
        self.assertIn(done.returncode, range(5), done.stderr)
        self.assertEqual('', done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(8, len(report['conditions']))
        self.assertEqual(os.uname().release, report['observation']['kernel']['release'])
        boot_id = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
        self.assertEqual(boot_id, report['boot_id'])
        self.assertTrue(report['observation']['live'])

    def test_a_reader_that_goes_away_changes_no_answer(self):
        state = self.run_command('check').returncode
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([COMMAND, 'check'], stdout=write, timeout=300, check=False)
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
        self.run_command('check')
        self.assertEqual(before, snapshot())
