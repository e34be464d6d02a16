"""A process with our RPC server and an agent that only pretends: ``python -m`` this module.

SIGTERM ends it; it then tells how many seconds its ``stop()`` took.
"""

from nested_agent import bootstrap  # noqa: F401, I001  # first, as in every command

import argparse
import logging
import signal
import sys
import threading
import time

from oslo_config import cfg

from nested_agent.conf import load
from nested_agent.model import Condition, ConditionType, Report, State, Status
from nested_agent.rpc import api, server

VERIFICATION_SECONDS = 0.3


class PretendedAgent:
    def __init__(self, host):
        self.host = host
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--config-file', required=True)
    parser.add_argument('--host', required=True)
    parser.add_argument('--api', default=api.VERSION)
    parser.add_argument('--stop-timeout', type=float, default=20)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    api.VERSION = options.api
    load.load(cfg.CONF, [options.config_file])
    answering = server.Server(cfg.CONF, options.host, PretendedAgent(options.host))
    answering.start()
    signal.sigwait({signal.SIGTERM})
    begun = time.monotonic()
    answering.stop(options.stop_timeout)
    sys.stdout.write(f'{time.monotonic() - begun:.2f}\n')


if __name__ == '__main__':
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
