"""What the commands share that show a report or ask the agent of another node."""

import argparse
import logging
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from nested_agent.cmd import command, exit_codes
from nested_agent.exceptions import UsageError
from nested_agent.model import Report, State

if TYPE_CHECKING:
    from nested_agent.rpc.client import Client

#: The longest that fits a queue's name, with room for what goes before it.
HOST_LENGTH = 200

#: They tell every attempt, at ERROR; the command says once what came of it.
CHATTY = ('amqp', 'kombu', 'oslo.messaging', 'oslo_messaging', 'oslo_service')


def seconds(text: str) -> float:
    """Return a number of seconds that can be waited for."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:  # a day
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of seconds above 0')
    return value


def host(text: str) -> str:
    """Return a name that an agent may have."""
    if not text or len(text.encode()) > HOST_LENGTH or not text.isprintable() or ' ' in text:
        raise argparse.ArgumentTypeError(f'{text[:HOST_LENGTH]!r} is not a host name')
    return text


def add_host(parser: argparse.ArgumentParser) -> None:
    """Add ``HOST``, which may be left out: then this node is meant."""
    parser.add_argument(
        'host',
        metavar='HOST',
        nargs='?',
        type=host,
        help='name of another node, whose agent is asked by RPC (default: this node)',
    )


class Remote(command.Base):
    """A command that can ask an agent over RPC."""

    #: Seconds, unless --timeout says otherwise.
    timeout = 10.0

    #: Who answers, as ``--help`` says it.
    whom = 'HOST'

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add ``--timeout``."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--timeout',
            metavar='SECONDS',
            type=seconds,
            default=self.timeout,
            help=f'how long to wait for the answer of {self.whom} (default: %(default)g)',
        )
        return parser

    def client(self) -> 'Client':
        """Return what asks agents; close it.

        :raises UsageError: there is no ``transport_url``
        """
        conf = self.messaging()
        from nested_agent.rpc.client import Client

        return Client(conf)

    def messaging(self) -> cfg.ConfigOpts:
        """Return our configuration as oslo.messaging needs it, which may then be imported.

        :raises UsageError: there is no ``transport_url``
        """
        if not self.application.options.debug:
            for name in CHATTY:
                logging.getLogger(name).setLevel(logging.CRITICAL)
        # oslo.messaging is imported here only: most commands do without, and it is slow.
        from nested_agent import bootstrap  # noqa: F401  # before oslo.messaging

        # isort: split
        from nested_agent.rpc import api

        conf = self.application.messaging_configuration()
        if not api.configured(conf):
            raise UsageError(
                'asking another node needs a message broker: set transport_url in [DEFAULT] of '
                'nested-agent.conf'
            )
        return conf


class RemoteCommand(Remote, command.Command):
    """A command that shows one thing, and can ask an agent for it."""


class ReportCommand(command.Answering, RemoteCommand):
    """A command that shows a report; its exit code is the state's."""

    formatter_namespace = 'nested_agent.cli.report'

    def shown(
        self, report: Report, stale: str | None = None
    ) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """Return the columns: the report's keys and ``stale``.

        :param stale: why the report says nothing about the present any more, None if it does
        """
        self.code = exit_codes.OF_STATE[State.UNKNOWN if stale else report.state]
        if stale:
            self.app.LOG.warning('the report is stale: %s', stale)
        plain = {**report.to_dict(), 'stale': stale}
        return tuple(plain), tuple(plain.values())
