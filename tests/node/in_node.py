"""Python programs of the tests that run in a node, beside the agent's own code."""

from pathlib import Path

from tests.node.bed.distribution import VENV
from tests.node.bed.node import Node

PROGRAMS = Path(__file__).parent / 'programs'
ROOM = '/opt/tests-of-nested-agent'


def install(node: Node) -> None:
    """Have the node hold the programs."""
    for path in PROGRAMS.glob('*.py'):
        node.write_file(f'{ROOM}/tests/node/programs/{path.name}', path.read_text())


def command(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a program, by its name, in a node that holds them."""
    python = f'{VENV}/bin/python'
    return ['env', f'PYTHONPATH={ROOM}', python, '-m', f'tests.node.programs.{program}', *arguments]
