"""What the commands share that run a daemon: configuration, log, and how it begins."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence

from oslo_config import cfg
from oslo_log import log
from oslo_reports import guru_meditation_report as gmr
from oslo_reports import opts as gmr_opts
from pbr import version

from nested_agent.cmd import exit_codes
from nested_agent.conf import libraries, load, notifications
from nested_agent.conf.files import DEFAULT, File
from nested_agent.exceptions import ConfigurationError
from nested_agent.rpc import api

VERSION = version.VersionInfo('nested-agent')
LOG = log.getLogger(__name__)

Reload = Callable[[], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """A command that runs a daemon.

    :ivar about: what ``--help`` and ``--version`` show
    :ivar run: runs it until it is told to stop and returns its exit code; given what reads the
        configuration again
    :ivar libraries: names of entry points ``oslo.config.opts`` whose options it has besides those
        of oslo.log, oslo.reports and oslo.messaging
    """

    program: load.Program
    about: Mapping[str, str]
    run: Callable[[cfg.ConfigOpts, Reload], int]
    libraries: Sequence[str] = ()

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run the daemon until it is told to stop, and return its exit code."""
        arguments = list(sys.argv[1:] if argv is None else argv)
        conf = cfg.CONF
        read: Sequence[File] = ()
        log.register_options(conf)
        gmr_opts.set_defaults(conf)
        try:
            unknown = self.check(arguments)
            read = load.load(conf, arguments=arguments, about=self.about, program=self.program)
            _set_up_log(conf, read)
            for each in unknown:
                LOG.warning('%s', each)
            if api.configured(conf):
                _try_transport(conf, read)
            gmr.TextGuruMeditation.setup_autorun(VERSION, conf=conf)
            return self.run(conf, lambda: self._reload(conf, arguments))
        except ConfigurationError as error:
            told = load.located(read, error)
            print(f'{self.program.name}: {told}', file=sys.stderr)  # noqa: T201  # no log yet
            return exit_codes.USAGE
        except SystemExit as end:
            # argparse ends with 2.
            return exit_codes.USAGE if end.code else 0

    def check(self, arguments: Sequence[str]) -> list[str]:
        """Look at every option, of the libraries too, and return what is none, as sentences.

        On a copy: a bad value would make every later look at the option fail.

        :raises ConfigurationError: naming the file, group and option that cannot be used
        """
        unknown: list[str] = []
        for messaging in (False, True):
            conf = cfg.ConfigOpts()
            log.register_options(conf)
            others = libraries.options(messaging=messaging, more=self.libraries)
            read = load.load(
                conf, arguments=arguments, libraries=others, about=self.about, program=self.program
            )
            problem = libraries.bad_level(conf)
            if problem:
                raise load.refusal(read, DEFAULT, 'default_log_levels', problem)
            unknown = list(load.unknown(read, others, self.program))
            # What is known may be an option of oslo.messaging, which costs its import.
            if not (unknown or api.configured(conf) or notifications.options(conf).wanted):
                break
        return unknown

    def _reload(self, conf: cfg.ConfigOpts, arguments: Sequence[str]) -> None:
        for each in self.check(arguments):
            LOG.warning('%s', each)
        conf.mutate_config_files()


def _set_up_log(conf: cfg.ConfigOpts, read: Sequence[File]) -> None:
    try:
        log.setup(conf, 'nested_agent', VERSION.release_string())
    except (log.LogConfigError, OSError, ValueError) as error:
        named = ('log_config_append', 'log_file', 'log_dir')
        option = next((each for each in named if conf[each]), 'logging_context_format_string')
        raise load.refusal(read, DEFAULT, option, error) from error


def _try_transport(conf: cfg.ConfigOpts, read: Sequence[File]) -> None:
    """Find out whether ``transport_url`` can be used; connects to nothing."""
    try:
        api.open_transport(conf, api.transport_url(conf)).cleanup()
    except ConfigurationError as error:
        reason = str(error).removeprefix(f'[{DEFAULT}] transport_url: ')
        raise load.refusal(read, DEFAULT, 'transport_url', reason) from error
