"""``nested-agentctl``: asks this node, or the agent of another."""

import argparse
import atexit
import gc
import io
import sys
from typing import Any

from cliff import app, commandmanager
from oslo_config import cfg
from pbr import version
from stevedore import named

from nested_agent.cmd import exit_codes
from nested_agent.conf import libraries, load
from nested_agent.exceptions import (
    ConfigurationError,
    NoReportError,
    NotPermittedError,
    RecordError,
    RemediationBusyError,
    RemediationError,
    RemediationRefusedError,
    RemoteBusyError,
    RemoteNotPermittedError,
    ReportFormatError,
    RPCError,
    UsageError,
)
from nested_agent.model import State

DESCRIPTION = """\
Verify nested virtualization on an OpenStack compute node: whether guests can
run their own KVM guests, why, and what would be done about it; and do it.
"""
EPILOG = """\
where to begin:
  nested-agentctl check             can guests run guests, and if not, why?
  nested-agentctl plan              what would be done about it?
  sudo nested-agentctl remediate    do it; "revert" takes all of it back
  nested-agentctl status HOST       what another node's agent found, by RPC
  nested-agentctl node summary      all nodes at a glance, from the collector
  nested-agentctl help COMMAND      more about one, with examples

exit codes of check, status, verify, plan, and of remediate: the state it left
  0 compliant   1 drifted or pending   2 blocked   3 unsupported
  4 unknown, or the report is stale or not there
exit codes of revert:
  0 all is as it was   1 some of it waits until KVM is idle
  2 something could not be undone: the table says what
exit codes of prove: 0 proved, 1 refused, 2 failed, 4 not tried
exit codes of history, pause, resume, ping and node: 0 done
  4 node show: no report of it is kept
of all of them, where there is no answer:
  64 usage or configuration error      70 internal error
  69 nobody to ask: no broker, no such agent, no answer in time, another version,
     or the answer is that it failed there
  74 it cannot be done now and nothing was changed: the message says why, such as
     the agent's record of its changes that cannot be read or written
  75 another remediation is under way, or fixes of HOST are paused: try again
  77 not permitted: not root, or [remediation] allow_remote is not set on HOST
  130 interrupted: a remediation of another node goes on all the same
"""


class Commands(commandmanager.CommandManager):
    """The commands, each imported only when it is wanted: cliff's own manager imports all."""

    def load_commands(self, namespace: str) -> None:
        """Find the commands of a namespace of entry points."""
        self.group_list.append(namespace)
        found: Any = named.NamedExtensionManager(namespace, names=())
        for each in found.list_entry_points():
            self.commands[each.name.replace('_', ' ')] = each


class AgentCtl(app.App):
    """The command line application."""

    def __init__(self) -> None:
        super().__init__(
            description=DESCRIPTION,
            version=version.VersionInfo('nested-agent').release_string(),
            command_manager=Commands('nested_agent.cli'),
            deferred_help=True,
        )
        self.failure: BaseException | None = None
        self._told: set[str] = set()

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """Add the options that choose our configuration."""
        parser: argparse.ArgumentParser = super().build_option_parser(
            description,
            version,
            {
                'epilog': EPILOG,
                'formatter_class': argparse.RawDescriptionHelpFormatter,
                **(argparse_kwargs or {}),
            },
        )
        parser.add_argument(
            '--config-file',
            action='append',
            default=[],
            metavar='FILE',
            help='configuration of nested-agent, may be given several times '
            '(default: /etc/nested-agent/nested-agent.conf, or one in ~/.nested-agent)',
        )
        parser.add_argument(
            '--config-dir',
            action='append',
            default=[],
            metavar='DIR',
            help='directory of more *.conf files, read after them '
            '(default: nested-agent.conf.d, in the same places)',
        )
        return parser

    def initialize_app(self, argv: list[str]) -> None:
        """Show help instead of cliff's interactive shell when no command is given."""
        if not argv and not self.options.deferred_help:
            self.parser.print_help(sys.stderr)
            raise SystemExit(exit_codes.USAGE)

    def run_subcommand(self, argv: list[str]) -> int:
        """Run a command; cliff's 2 for an unknown one means something else here."""
        try:
            self.command_manager.find_command(argv)
        except ValueError:
            super().run_subcommand(argv)  # says what is there
            return exit_codes.USAGE
        except ImportError as error:
            self.LOG.error('the command cannot be imported: %s', error)
            self.LOG.debug('not imported', exc_info=True)
            return exit_codes.INTERNAL
        return int(super().run_subcommand(argv))

    def configuration(self) -> cfg.ConfigOpts:
        """Return our configuration, read from the files the command line names.

        :raises ConfigurationError: naming the file, group and option that cannot be used
        """
        return self._loaded(cfg.ConfigOpts(), ())

    def messaging_configuration(self) -> cfg.ConfigOpts:
        """Return our configuration as oslo.messaging needs it: the global one.

        :raises ConfigurationError: naming the file, group and option that cannot be used
        """
        others = libraries.options(messaging=True)
        self._loaded(cfg.ConfigOpts(), others)
        return self._loaded(cfg.CONF, ())

    def _loaded(self, conf: cfg.ConfigOpts, others: load.Options) -> cfg.ConfigOpts:
        files, directories = self.options.config_file, self.options.config_dir
        read = load.load(conf, files, directories, libraries=others)
        # The daemon tells more: here a command may look only at its own.
        for each in load.unknown(read, others or None):
            if each not in self._told:
                self.LOG.warning('%s', each)
                self._told.add(each)
        return conf

    def clean_up(self, cmd: Any, result: int, err: BaseException | None) -> None:
        """Keep what a command failed with: cliff turns every failure into 1."""
        self.failure = err


def script() -> int:
    """Be the command: a process that has ended before it pays to look for garbage."""
    # The thread that asks for the next page must not wait for the one that works on this.
    sys.setswitchinterval(0.0001)
    gc.disable()
    # Else Python looks for it in the end: in all that is about to go anyway.
    atexit.register(gc.freeze)
    return main()


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name, or a report, may be anybody's: what cannot be encoded is shown as \uXXXX.
            stream.reconfigure(errors='backslashreplace')
    application = AgentCtl()
    try:
        result = int(application.run(sys.argv[1:] if argv is None else argv))
    except SystemExit as end:
        # argparse ends with 2, which here means "blocked".
        return exit_codes.USAGE if end.code == 2 else int(end.code or 0)
    if isinstance(application.failure, Exception):
        return _code(application.failure)
    return result


#: The first that fits counts.
CODES = (
    (NotPermittedError, exit_codes.NOT_PERMITTED),
    (RemoteNotPermittedError, exit_codes.NOT_PERMITTED),
    (RemediationBusyError, exit_codes.BUSY),
    (RemoteBusyError, exit_codes.BUSY),
    (RemediationError, exit_codes.IO_ERROR),
    (RemediationRefusedError, exit_codes.IO_ERROR),
    (RecordError, exit_codes.IO_ERROR),
    (ConfigurationError, exit_codes.USAGE),
    (UsageError, exit_codes.USAGE),
    (RPCError, exit_codes.UNAVAILABLE),
    (NoReportError, exit_codes.OF_STATE[State.UNKNOWN]),
    (ReportFormatError, exit_codes.OF_STATE[State.UNKNOWN]),
)


def _code(failure: BaseException) -> int:
    fitting = (code for kind, code in CODES if isinstance(failure, kind))
    return next(fitting, exit_codes.INTERNAL)
