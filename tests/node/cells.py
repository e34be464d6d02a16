"""What is said of a node in a cell of tests/matrix.py."""

import json
from collections.abc import Sequence

from tests.matrix import Cell
from tests.node import in_node
from tests.node.bed.node import Node
from tests.node.drifted import module


def cell_of(node: Node, cell: Cell) -> dict[str, object]:
    """Return what the program in the node is told of a cell."""
    name = module(node)
    return {
        'module': name,
        'loaded': f'nested={"01"[cell.loaded == "on"]}',
        'busy': cell.use == 'busy',
        'policy': {'on': 'enabled', 'off': 'disabled'}[cell.policy],
        'files': cell.files(name),
    }


def found(node: Node, cells: Sequence[Cell]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the state and the plan that are found for each of the cells."""
    in_node.install(node)
    told = json.dumps([cell_of(node, cell) for cell in cells])
    done = node.run(in_node.command('cells'), stdin=told, timeout=600)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return [(each['state'], tuple(each['plan'])) for each in said]
