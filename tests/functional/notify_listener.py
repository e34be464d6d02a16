"""A consumer of notifications as any other: ``python -m`` this module; a line of JSON for each."""

import argparse
import json
import signal
import sys

import oslo_messaging
from oslo_config import cfg


class Endpoint:
    def __init__(self):
        for priority in ('info', 'warn', 'error'):
            setattr(self, priority, self.take(priority))

    def take(self, priority):
        def take(context, publisher, event, payload, metadata):
            told = [priority, publisher, event, payload, metadata]
            sys.stdout.write(f'{json.dumps(told)}\n')
            sys.stdout.flush()

        return take


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--url', required=True)
    parser.add_argument('--topic', required=True)
    options = parser.parse_args()
    cfg.CONF([])
    transport = oslo_messaging.get_notification_transport(cfg.CONF, url=options.url)
    targets = [oslo_messaging.Target(topic=options.topic)]
    listener = oslo_messaging.get_notification_listener(transport, targets, [Endpoint()])
    listener.start()
    signal.sigwait({signal.SIGTERM})


if __name__ == '__main__':
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
