"""What our commands say of themselves.

Directive ``command-help NAME`` shows what the command says with ``--help``. ``autoprogram-cliff``
is cliff's own, but for the defaults that argparse puts into its help texts.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from cliff.sphinxext import AutoprogramCliffDirective
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

TIMEOUT = 60


class CommandHelp(Directive):
    """The help of the command that the argument names, as a literal block."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the block."""
        command = Path(sys.executable).with_name(self.arguments[0])
        done = subprocess.run(  # our own, of this environment
            [command, '--help'],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
            env={**os.environ, 'COLUMNS': '84', 'LC_ALL': 'C.UTF-8', 'PYTHONWARNINGS': 'ignore'},
        )
        return [nodes.literal_block(text=done.stdout, language='none')]


class Commands(AutoprogramCliffDirective):
    """Subcommands, with ``%(default)s`` in the help of their options filled in."""

    def _drop_ignored_options(
        self, parser: argparse.ArgumentParser, ignored_opts: list[str]
    ) -> None:
        super()._drop_ignored_options(parser, ignored_opts)
        formatter = parser._get_formatter()
        for action in parser._actions:
            if action.help:
                action.help = formatter._expand_help(action)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.setup_extension('cliff.sphinxext')
    app.add_directive('autoprogram-cliff', Commands, override=True)
    app.add_directive('command-help', CommandHelp)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
