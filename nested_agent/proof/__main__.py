"""The child: ``python -I -S .../proof/__main__.py svm|vmx DEVICE CPU_SECONDS DEADLINE``.

Prints what was found as one JSON object; ends by itself at the deadline, whoever waits.
"""

import json
import signal
import sys

if __name__ == '__main__':
    # By path, without site: the only way that does not depend on how the parent was installed.
    sys.path.insert(0, __file__.rsplit('/', 3)[0])

from nested_agent.proof import machine, svm, vmx
from nested_agent.proof.finding import Finding, Outcome

GUESTS = {'svm': svm.GUEST, 'vmx': vmx.GUEST}


def main(kind: str, device: str, cpu_seconds: float) -> Finding:
    """Return what came of the proof."""
    wanted = GUESTS[kind]
    try:
        end = machine.run(device, wanted.image(), wanted.program.address, cpu_seconds)
    except (OSError, machine.RequestError) as error:
        return Finding(Outcome.NOT_TRIED, 'NoMachine', f'no virtual machine: {error}')
    return wanted.finding(end)


if __name__ == '__main__':
    # SIGALRM's own action, which nothing in here can delay: death.
    signal.alarm(int(sys.argv[4]))
    found = main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    sys.stdout.write(json.dumps([found.outcome, found.reason, found.message, found.exception]))
