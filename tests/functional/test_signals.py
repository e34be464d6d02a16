"""Signals reach the daemon's main thread however they come."""

import subprocess
import sys

from oslotest import base

DEADLINE = 120.0
# Blocks in wait() while another thread gets the signal: that interrupts no system call.
PROGRAM = """\
import nested_agent.bootstrap
import signal, threading, time
from nested_agent.lifecycle import Signals

def send():
    with open('/proc/self/stat') as stat:
        while stat.read().rpartition(')')[2].split()[0] != 'S':
            stat.seek(0)
            time.sleep(0.01)
    signal.pthread_kill(threading.get_ident(), signal.{name})

signals = Signals()
signal.signal(signal.SIGUSR2, lambda number, frame: None)
signal.raise_signal(signal.SIGUSR2)
threading.Thread(target=send).start()
print(signals.wait())
"""


class SignalsTest(base.BaseTestCase):
    def test_one_that_another_thread_gets(self):
        for name in ('SIGTERM', 'SIGHUP', 'SIGINT'):
            done = subprocess.run(
                [sys.executable, '-c', PROGRAM.format(name=name)],
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
            self.assertEqual((0, f'{name}\n', ''), (done.returncode, done.stdout, done.stderr))
