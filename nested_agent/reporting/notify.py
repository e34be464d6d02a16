"""Notifications as a channel: a change of state, and what the agent does about a node.

What this daemon does itself is told as it happens. What another process did, root's
``nested-agentctl`` as a rule, is told when a report first shows it.
"""

from typing import Protocol

from nested_agent.model import Report, Result, Run, Trigger
from nested_agent.remediation.journal import Header
from nested_agent.reporting import notify_payload
from nested_agent.reporting.notify_payload import Notification

#: Runs that only a daemon makes: it told them as it made them.
OWN = (Trigger.AUTONOMOUS, Trigger.RPC)


class Post(Protocol):
    """What takes notifications to whoever wants them, on a thread of its own."""

    def start(self) -> None:
        """Begin to send; returns at once."""

    def stop(self, timeout: float) -> None:
        """Send no more; returns after ``timeout`` seconds at the latest."""

    def post(self, host: str, notification: Notification) -> None:
        """Take one about a host; returns at once."""


class Notify:
    """A channel, and an onlooker of the daemon's runs; all on the loop's thread.

    A remediation has one start and one end or error, of the same ``id``: what ends it is its own
    run, a defect, or the run that puts it right after it was interrupted.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        # Only known once nova-compute's configuration was read.
        self._host: str | None = None
        self._open: str | None = None
        # What the last end was about.
        self._told: frozenset[str | None] = frozenset()

    def start(self) -> None:
        """Begin to send; returns at once."""
        self._post.start()

    def stop(self, timeout: float) -> None:
        """Send no more; returns after ``timeout`` seconds at the latest."""
        self._post.stop(timeout)

    def __call__(self, report: Report, previous: Report | None) -> None:
        """Tell what is new about the node; returns at once."""
        known = _last_run(previous)
        if self._host is None and known is not None:
            self._told = frozenset((known.id, known.about))  # by an earlier daemon
        self._host = report.host
        last = _last_run(report)
        # Where it is not known what was there before, nothing is news.
        if last and last != known and previous and previous.remediation:
            self._seen(report.host, last)
        if previous is None or previous.state is not report.state:
            before = None if previous is None else previous.state
            self._post.post(report.host, notify_payload.state_changed(report, before))

    def begun(self, run: Header) -> None:
        """Tell that this daemon begins to change the node."""
        if self._host is not None:
            self._open = run.id
            self._post.post(self._host, notify_payload.started(self._host, run))

    def ended(self, run: Run) -> None:
        """Tell what came of it, unless there was nothing to do.

        Before the first report there can only be a recovery, which that report will show.
        """
        if self._host is not None and (self._open or run.result is not Result.NOOP):
            self._end(self._host, run, self._open)

    def _seen(self, host: str, run: Run) -> None:
        if run.trigger not in OWN and run.id not in self._told:
            self._end(host, run, None)

    def _end(self, host: str, run: Run, begun: str | None) -> None:
        """Tell an end, and its beginning if nobody has.

        :param begun: id of the remediation that it ends; None: this process began none
        """
        if begun is None and run.about not in {None, *self._told}:
            begun = run.about  # told, if at all, by whoever was interrupted
        if begun is None:
            self._post.post(host, notify_payload.started_before(host, run))
        self._post.post(host, notify_payload.ended(host, begun or run.id, run))
        self._told = frozenset((begun, run.id, run.about))
        if begun == self._open:
            self._open = None


def _last_run(report: Report | None) -> Run | None:
    remediation = report.remediation if report else None
    return remediation.last_run if remediation else None
