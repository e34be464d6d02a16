"""This node as the commands see it, and who gives them."""

import getpass
import os
import socket

from nested_agent.cmd.agentctl import AgentCtl
from nested_agent.exceptions import NotPermittedError, ReportFormatError
from nested_agent.local import Local
from nested_agent.rpc import api


def this_node(application: AgentCtl) -> Local:
    """Return this node, together with what the daemon last knew of it.

    :raises ConfigurationError: naming the file, group and option that cannot be used
    """
    local = Local(application.configuration())
    try:
        local.previous = local.last_report()
    except ReportFormatError as error:
        application.LOG.warning('since when is not known: %s', error)
    return local


def need_root(what: str) -> None:
    """Make sure that the command may change this node.

    :raises NotPermittedError: it is not run by root
    """
    if os.geteuid() != 0:
        raise NotPermittedError(f'{what} takes root: try sudo')


def who() -> str:
    """Return who gives the command, as USER@HOST: of sudo, who called it."""
    user = os.environ.get('SUDO_USER')
    try:
        user = user or getpass.getuser()
    except (KeyError, OSError):  # no such user, as in a container
        user = str(os.getuid())
    name = f'{user}@{socket.gethostname()}'
    return ''.join(each for each in name if each.isprintable())[: api.WHO_LENGTH]
