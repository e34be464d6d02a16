"""Whether the agent of this host can be asked over the message broker."""

import socket
from pathlib import Path

from oslo_config import cfg
from oslo_upgradecheck.upgradecheck import Code

from nested_agent.cmd.upgrade_state import Finding
from nested_agent.exceptions import (
    ConfigurationError,
    NoSuchAgentError,
    ReportFormatError,
    RPCError,
)
from nested_agent.reporting import state_file

#: Seconds to wait for the broker, and for the agent.
DEADLINE = 10.0


def reach(conf: cfg.ConfigOpts, deadline: float = DEADLINE) -> Finding:
    """Return what came of asking, within ``deadline`` seconds.

    A broker that is away is a warning: agents go on without.

    :param conf: the global one, with a ``transport_url``
    """
    # Imported here: it costs megabytes.
    from nested_agent.rpc.client import Client

    try:
        with Client(conf) as client:
            pong = client.ping(_host(conf), deadline)
    except NoSuchAgentError as error:
        return Finding(Code.SUCCESS, f'the broker lets us in; {error}')
    except (RPCError, ConfigurationError) as error:
        return Finding(Code.WARNING, str(error))
    return Finding(
        Code.SUCCESS, f'the agent of {pong.host} answers: release {pong.version}, API {pong.api}'
    )


def _host(conf: cfg.ConfigOpts) -> str:
    """Return the name that the agent last reported under, else the one it has without nova's."""
    try:
        stored = state_file.read(Path(conf.agent.state_dir))
    except ReportFormatError:
        stored = None
    return stored.report.host if stored else conf.host or socket.gethostname()
