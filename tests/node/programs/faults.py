"""Runs in a node: fixes it while something is broken.

Standard input is JSON: by the name of a fault a shell command that breaks something, and one that
repairs it. A line of JSON is printed for each: what became of the fix, and what is so then.
"""

import functools
import json
import subprocess
import sys

from nested_agent.actions.site import Limits
from nested_agent.remediation import remediator
from tests.node.programs.fixes import effects, facts, forked, mend, revert, tell, warm_up

#: No option: what takes longer than the default is broken. In here that is too long to wait for,
#: but many times what it takes.
MODPROBE_SECONDS = 20.0


def shell(command: str) -> None:
    subprocess.run(['/bin/sh', '-ec', command], check=True)


def main() -> None:
    remediator.Limits = functools.partial(Limits, modprobe=MODPROBE_SECONDS)
    warm_up()
    beginning = effects()
    for name, (breaks, repairs) in json.load(sys.stdin).items():
        shell(breaks)
        try:
            told = forked(mend) | facts()
        finally:
            shell(repairs)
        told['undone'] = forked(revert) if effects() != beginning else None
        tell({'fault': name, 'beginning': effects() == beginning, **told})


if __name__ == '__main__':
    main()
