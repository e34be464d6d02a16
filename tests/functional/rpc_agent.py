"""A process with our RPC server and an agent that only pretends: ``python -m`` this module.

SIGTERM ends it; it then tells how many seconds its ``stop()`` took.
"""

import argparse
import logging
import signal
import sys
import threading
import time
from pathlib import Path

from oslo_config import cfg

from nested_agent.conf import load
from nested_agent.exceptions import RecordError
from nested_agent.model import (
    Condition,
    ConditionType,
    Pause,
    Report,
    Result,
    Run,
    State,
    Status,
    Trigger,
)
from nested_agent.rpc import api, server

VERIFICATION_SECONDS = 0.3


class PretendedAgent:
    """:param until: a remediation goes on until this file exists; None: it takes no time"""

    def __init__(self, host, until):
        self.host = host
        self.until = until
        self.runs = []
        self.paused = None
        self.verified = 0
        self.lock = threading.Lock()

    def report(self):
        condition = Condition(ConditionType.CPU_SUPPORTED, Status.TRUE, 'Supported', 'It is.')
        policy = {'nested': 'enabled'}
        return Report(
            self.host, time.time(), 'boot', 'amd', policy, State.COMPLIANT, (condition,), (), {},
            sequence=self.verified,
        )  # fmt: skip

    def verify_now(self, timeout):
        if timeout < VERIFICATION_SECONDS:
            raise TimeoutError(f'no verification ended within {timeout:g} s')
        with self.lock:
            time.sleep(VERIFICATION_SECONDS)
            self.verified += 1
            return self.report()

    def remediate(self, *, noop, who):
        began = time.time()
        while self.until and not self.until.exists():
            time.sleep(0.05)
        result = Result.NOOP if noop else Result.APPLIED
        run = Run(
            str(began), Trigger.RPC, who, began, time.time(), 'boot', result, 'It is done.', (),
            {}, {}, State.DRIFTED, State.COMPLIANT,
        )  # fmt: skip
        self.runs.insert(0, run)
        return run

    def pause(self, seconds, reason, who):
        if self.paused:
            raise RecordError('control.json: No space left on device')
        now = time.time()
        self.paused = Pause(now, None if seconds is None else now + seconds, reason, who)
        return self.paused

    def resume(self, who):
        self.paused = None

    def history(self):
        return tuple(self.runs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--config-file', required=True)
    parser.add_argument('--host', required=True)
    parser.add_argument('--api', default=api.VERSION)
    parser.add_argument('--stop-timeout', type=float, default=20)
    parser.add_argument('--until', type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    api.VERSION = options.api
    load.load(cfg.CONF, [options.config_file])
    agent = PretendedAgent(options.host, options.until)
    answering = server.Server(cfg.CONF, options.host, agent)
    answering.start()
    signal.sigwait({signal.SIGTERM})
    begun = time.monotonic()
    answering.stop(options.stop_timeout)
    sys.stdout.write(f'{time.monotonic() - begun:.2f}\n')


if __name__ == '__main__':
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
