"""Runs in a node: what is said of it, with its module as every cell of tests/matrix.py has it.

Standard input is a list of cells: ``module``, ``loaded`` (its option), ``busy``, ``policy`` and
``files``. A line of JSON is printed for each.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nested_agent.drivers import loader
from nested_agent.node.observe import Sources, observe
from nested_agent.node.root import Root
from nested_agent.policy import Nested, Policy
from nested_agent.report import judge
from tests.node.programs.fixes import tell

HOLD = ['kvmprobe', 'hold', '86400']


@contextlib.contextmanager
def holder(module: str, *, wanted: bool) -> Iterator[None]:
    """Have a process hold a virtual machine, if wanted."""
    if not wanted:
        yield
        return
    with subprocess.Popen(HOLD, stdout=subprocess.DEVNULL) as process:
        while Path(f'/sys/module/{module}/refcnt').read_text() == '0\n':
            time.sleep(0.05)
        yield
        process.kill()


def write(files: Mapping[str, str | None]) -> None:
    for name, text in files.items():
        if text is None:
            Path(name).unlink(missing_ok=True)
        else:
            Path(name).write_text(text)


def look(policy: str) -> dict[str, Any]:
    observation, driver = observe(Root(), loader.load(), Sources())
    report = judge(observation, driver, Policy(nested=Nested(policy)), None).report
    return {'state': report.state, 'plan': [action.kind for action in report.plan]}


def main() -> None:
    before = None
    for cell in json.load(sys.stdin):
        module = cell['module']
        if cell['loaded'] != before:
            before = cell['loaded']
            subprocess.run(['modprobe', '-r', module], check=True)
            subprocess.run(['modprobe', module, before], check=True)
        write(cell['files'])
        with holder(module, wanted=cell['busy']):
            tell(look(cell['policy']))


if __name__ == '__main__':
    main()
