"""Every cell of tests/matrix.py on a node with the real kvm_amd; test_intel has some of them."""

from tests.matrix import CELLS
from tests.node.base import NodeTestCase
from tests.node.cells import found
from tests.node.drifted import KVM_CONF


class MatrixTest(NodeTestCase):
    def test_every_cell(self) -> None:
        node = self.node()
        node.run(['rm', KVM_CONF])
        # Few reloads.
        cells = sorted(CELLS, key=lambda cell: cell.loaded)
        for cell, (state, plan) in zip(cells, found(node, cells), strict=True):
            self.assertEqual((cell.state, cell.plan), (state, plan), cell)
