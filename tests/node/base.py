"""What every test on an emulated node builds on."""

from contextlib import ExitStack
from pathlib import Path

from oslotest import base
from testtools.content import text_content

from tests.node.bed.bed import AMD, Bed
from tests.node.bed.node import Node
from tests.node.bed.store import Store, default_root

# Now: once a test has begun, HOME is one of its own.
BED = Bed(Path(__file__).parents[2], Store(default_root()))


class NodeTestCase(base.BaseTestCase):
    """A test case that can have compute nodes."""

    def node(self, *, cpu: str = AMD, arguments: str = '', cold: bool = False) -> Node:
        """Return a running node of this test's own; see Bed.node.

        If the test fails, the end of the node's console is in its details.
        """
        stack = ExitStack()
        self.addCleanup(stack.close)
        node = BED.node(stack, cpu=cpu, arguments=arguments, cold=cold)

        def show(error: object) -> None:
            self.addDetail('console', text_content(node.console()))

        self.addOnException(show)
        return node
