"""Every cell of tests/matrix.py, for both vendors; tests/node has them on real modules."""

from oslotest import base

from nested_agent.policy import Nested, Policy
from tests.matrix import CELLS, Cell
from tests.unit.simulated import SimulatedNode


class MatrixTest(base.BaseTestCase):
    def test_amd(self):
        for cell in CELLS:
            self.assert_cell(cell, intel=False)

    def test_intel(self):
        for cell in CELLS:
            self.assert_cell(cell, intel=True)

    def assert_cell(self, cell: Cell, *, intel: bool) -> None:
        module = 'kvm_intel' if intel else 'kvm_amd'
        options = f'nested={"01"[cell.loaded == "on"]}'
        node = SimulatedNode(self, intel=intel, options=options, files=cell.files(module))
        if cell.use == 'busy':
            node.hold()
        nested = {'on': Nested.ENABLED, 'off': Nested.DISABLED}[cell.policy]
        report = node.look(Policy(nested=nested)).report
        plan = tuple(str(each.kind) for each in report.plan)
        self.assertEqual((cell.state, cell.plan), (report.state, plan), cell)
        waits = any(not each.now for each in report.plan if each.kind == 'reload-module')
        self.assertEqual('reload-module' in plan and cell.use == 'busy', waits, cell)
