"""A file changed on real file systems that are full, read-only, mounted over or immutable."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oslotest import base

# Run in a mount namespace of its own. Arguments: a directory, when to break things, and how.
PROGRAM = r"""
import json, os, subprocess, sys
from pathlib import Path
from nested_agent.actions.changes import Changes
from nested_agent.actions.file_step import FileStep
from nested_agent.actions.site import Site
from nested_agent.exceptions import StepError
from nested_agent.node.root import Root

class Write(FileStep):
    name = 'write'
    def content(self, before):
        return b'new'

top, when, fault = sys.argv[1:]
etc, state = Path(top, 'etc'), Path(top, 'state')
for path in (Path(top), state):
    path.mkdir(exist_ok=True)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', path], check=True)
etc.mkdir()
file = etc / 'nova.conf'
file.write_bytes(b'old')
other = Path(top, 'other')
other.write_bytes(b'other')
inode = file.stat().st_ino
step = Write(Site(Root(), None, Changes(state), state, None), (), str(file))
said = {}

def now(moment):
    if moment == when:
        subprocess.run(fault.format(file=file, etc=etc, top=top, other=other), shell=True)

try:
    now('before precheck')
    step.precheck()
    record = step.record()
    now('before apply')
    try:
        step.apply()
        now('before undo')
    except StepError as error:
        said['apply'] = str(error)
    said['undo'] = step.undo(step.site, record, rebooted=False)
except StepError as error:
    said['error'] = str(error)
subprocess.run(f'umount {file}', shell=True, stderr=subprocess.DEVNULL)
said['content'] = file.read_bytes().decode()
said['same'] = file.stat().st_ino == inode
said['names'] = sorted(str(each.relative_to(etc)) for each in etc.rglob('*'))
print(json.dumps(said))
"""
FULL = 'dd if=/dev/zero of={top}/filler bs=4k 2>/dev/null'
READ_ONLY = 'mount -o remount,ro {top}'
MOUNTED = 'mount --bind {other} {file}'
IMMUTABLE = 'chattr +i {file}'
IMMUTABLE_DIRECTORY = 'chattr +i {etc}'


@unittest.skipUnless(os.geteuid() == 0, 'mounts need root')
class FileSystemTest(base.BaseTestCase):
    def run_program(self, when: str, fault: str) -> Any:
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                ['/usr/bin/unshare', '-m', sys.executable, '-c', PROGRAM, directory, when, fault],
                capture_output=True,
                text=True,
                timeout=60,
                cwd=Path(__file__).parents[2],
            )
        self.assertEqual('', done.stderr)
        return json.loads(done.stdout)

    def check(self, fault: str, words: str, faults_at: Sequence[str]) -> None:
        """Assert that a fault is told before anything changes, or leaves all as it was."""
        for when in faults_at:
            said = self.run_program(when, fault)
            told = said['error'] if when == 'before precheck' else said['apply']
            self.assertIn(words, told, when)
            self.assertIn('/etc/nova.conf', told)
            self.assertEqual(('old', True), (said['content'], said['same']), said)
            self.assertEqual(['nova.conf'], said['names'])

    def test_full(self) -> None:
        self.check(FULL, 'no space', ('before precheck', 'before apply'))

    def test_undone_on_a_full_disk(self) -> None:
        said = self.run_program('before undo', FULL)
        self.assertIn('put back', said['undo'])
        self.assertEqual(('old', True), (said['content'], said['same']))
        self.assertEqual(['nova.conf'], said['names'])

    def test_read_only(self) -> None:
        self.check(READ_ONLY, 'read-only', ('before precheck',))
        said = self.run_program('before apply', READ_ONLY)
        self.assertIn('read-only', said['apply'])
        self.assertEqual(('old', ['nova.conf']), (said['content'], said['names']))

    def test_mounted_over(self) -> None:
        self.check(MOUNTED, 'mount point', ('before precheck',))
        said = self.run_program('before apply', MOUNTED)
        self.assertIn('somebody else changed it', said['apply'])
        self.assertEqual(('old', True), (said['content'], said['same']))

    def test_immutable(self) -> None:
        self.check(IMMUTABLE, 'immutable', ('before precheck', 'before apply'))

    def test_immutable_directory(self) -> None:
        self.check(IMMUTABLE_DIRECTORY, 'immutable', ('before precheck', 'before apply'))
