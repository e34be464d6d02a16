"""Which state a node is in, and what would be done about it, for all that decides about its module.

The same for both vendors. In words: what is right for this load and the next is left alone; what
is idle is mended; what is busy is mended on disk; who overrules us is told to a person.
"""

from typing import NamedTuple

DROPIN = '/etc/modprobe.d/zz-nested-agent.conf'
#: Is applied after the drop-in.
LATER = '/etc/modprobe.d/zzz-theirs.conf'


class Cell(NamedTuple):
    """A node whose nova-compute runs with host-passthrough, and what is to be said of it.

    :ivar policy: what is wanted, ``on`` or ``off``
    :ivar loaded: what the loaded module was given
    :ivar dropin: what modprobe.d says: ``none``: nothing at all, so that it is the kernel's
        default, on; ``on`` or ``off``: the agent's own file; ``conflict``: that is as the policy
        wants, and a later file says the opposite
    :ivar use: of the module: ``idle``, or ``busy`` where a virtual machine holds it
    """

    policy: str
    loaded: str
    dropin: str
    use: str
    state: str
    plan: tuple[str, ...]

    def files(self, module: str) -> dict[str, str | None]:
        """Return the files of modprobe.d, None for one that is not there."""
        opposite = {'on': 'off', 'off': 'on'}[self.policy]
        ours, theirs = {
            'none': (None, None),
            'conflict': (self.policy, opposite),
        }.get(self.dropin, (self.dropin, None))
        return {DROPIN: _line(module, ours), LATER: _line(module, theirs)}


def _line(module: str, value: str | None) -> str | None:
    return f'options {module} nested={"01"[value == "on"]}\n' if value else None


_ABBREVIATIONS = {
    'write': 'write-modprobe-dropin',
    'reload': 'reload-module',
    'restart': 'restart-nova-compute',
}
_TABLE = """\
on   on   none      idle  compliant
on   on   none      busy  compliant
on   on   on        idle  compliant
on   on   on        busy  compliant
on   on   off       idle  drifted    write
on   on   off       busy  drifted    write
on   on   conflict  idle  blocked    by-hand
on   on   conflict  busy  blocked    by-hand
on   off  none      idle  drifted    reload restart
on   off  none      busy  pending    reload
on   off  on        idle  drifted    reload restart
on   off  on        busy  pending    reload
on   off  off       idle  drifted    write reload restart
on   off  off       busy  drifted    write reload
on   off  conflict  idle  blocked    by-hand
on   off  conflict  busy  blocked    by-hand
off  on   none      idle  drifted    write reload restart
off  on   none      busy  drifted    write reload
off  on   on        idle  drifted    write reload restart
off  on   on        busy  drifted    write reload
off  on   off       idle  drifted    reload restart
off  on   off       busy  pending    reload
off  on   conflict  idle  blocked    by-hand
off  on   conflict  busy  blocked    by-hand
off  off  none      idle  drifted    write
off  off  none      busy  drifted    write
off  off  on        idle  drifted    write
off  off  on        busy  drifted    write
off  off  off       idle  compliant
off  off  off       busy  compliant
off  off  conflict  idle  blocked    by-hand
off  off  conflict  busy  blocked    by-hand
"""


def _cell(line: str) -> Cell:
    policy, loaded, dropin, use, state, *plan = line.split()
    kinds = tuple(_ABBREVIATIONS.get(each, each) for each in plan)
    return Cell(policy, loaded, dropin, use, state, kinds)


CELLS = tuple(_cell(line) for line in _TABLE.splitlines())
assert len({cell[:4] for cell in CELLS}) == 2 * 2 * 4 * 2
