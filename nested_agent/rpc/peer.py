"""Whom a question goes to."""

import dataclasses

from nested_agent.rpc import api


@dataclasses.dataclass(frozen=True, slots=True)
class Peer:
    """Whom is asked.

    :ivar name: as a sentence names it
    :ivar server: the one that is meant; None: any that listens to the topic
    :ivar absent: the sentence for when nobody reads the queue
    :ivar afterwards: where to look what came of a request without an answer
    """

    name: str
    topic: str
    server: str | None
    absent: str
    afterwards: str = ''

    @property
    def queue(self) -> str:
        """The queue that requests go to."""
        return self.topic if self.server is None else f'{self.topic}.{self.server}'


def agent(host: str) -> Peer:
    """Return the agent of a host."""
    return Peer(
        f'the agent of {host}',
        api.TOPIC,
        host,
        f'no agent answers for {host}',
        f'"nested-agentctl history {host}" tells',
    )
