"""The step that writes what the next load of the module applies, into the one file we own."""

from nested_agent.actions.file_step import FileStep
from nested_agent.actions.next_load import proved
from nested_agent.actions.site import Site
from nested_agent.drivers.base import Driver
from nested_agent.model import Action
from nested_agent.verify.persistent import DROPIN

HEADER = """\
# Written by nested-agent, as the policy of this node wants it; changes made here are overwritten.
# "nested-agentctl revert" takes it back.
"""


class WriteDropin(FileStep):
    """The drop-in written for this node's module, and proved to decide.

    Where a later file, a kernel argument or an ``install`` line decides all the same, it fails,
    for a file without effect would only mislead. It stays where only the boot goes wrong (a stale
    boot image, a blacklist): there it is right, and a person has to do the rest.
    """

    name = 'write-modprobe-dropin'

    def __init__(
        self, site: Site, actions: tuple[Action, ...], driver: Driver, wanted: bool
    ) -> None:
        super().__init__(site, actions, DROPIN)
        self._driver = driver
        self._wanted = wanted

    def content(self, before: bytes | None) -> bytes:
        """Return the whole file, whatever was in it: it is the agent's own."""
        return f'{HEADER}{self._driver.option_line(self._wanted)}\n'.encode()

    def verify(self) -> str:
        """Ask modprobe itself what the next load does."""
        written = super().verify()
        return f'{written}: {proved(self.site.look(), self._wanted)}'
