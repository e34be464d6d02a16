"""A node made of files on which steps are carried out, and judged again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nested_agent.actions import nova_file
from nested_agent.actions.changes import Changes
from nested_agent.actions.site import Site
from nested_agent.actions.step import Step
from nested_agent.drivers import loader
from nested_agent.drivers.amd import AMDDriver
from nested_agent.drivers.intel import IntelDriver
from nested_agent.node.observe import Sources, observe
from nested_agent.policy import Policy
from nested_agent.report import Judged, judge
from tests.unit.nodes import Node

DRIVERS = loader.Loaded((AMDDriver(), IntelDriver()), ())


class EditedNode:
    """The node, and what the agent remembers of it.

    :param files: paths and contents beside those of the node; None removes one
    """

    def __init__(self, case: Any, node: Node, policy: Policy | None = None, **sources: Any) -> None:
        self.root = node.root(case)
        self.policy = policy or Policy()
        self.sources = Sources(**sources)
        self.base = Path(self.root.base)
        self.state = self.base / 'var/lib/nested-agent'
        self.state.mkdir(parents=True)
        self.changes = Changes(self.state)
        self.site = Site(self.root, self.judged, self.changes, self.state, None)

    def judged(self) -> Judged:
        observation, driver = observe(self.root, DRIVERS, self.sources)
        return judge(observation, driver, self.policy, None)

    def edits(self) -> list[nova_file.EditNovaFile]:
        return nova_file.steps(self.site, self.judged())

    def done(self, steps: Sequence[Step]) -> list[tuple[Step, Any]]:
        """Carry steps out as a run does, and return them with their records."""
        for step in steps:
            step.precheck()
        records = []
        for step in steps:
            records.append((step, step.record()))
            step.apply()
            step.verify()
        return records

    def kept(self, steps: Sequence[Step]) -> None:
        for step, record in self.done(steps):
            step.forget(self.site, record)

    def text(self, path: str) -> str:
        return (self.base / path[1:]).read_bytes().decode()

    def write(self, path: str, text: str) -> None:
        (self.base / path[1:]).write_bytes(text.encode())
