"""Generated configurations of nova-compute, edited as a remediation does, judged by oslo.config.

``python -m tests.functional.nova_conf_fuzz FIRST LAST`` tries a range of seeds on all processors.
Every seed is one case, always the same. What is tried of it: the edit and its effect, undo or
revert, and a revert after somebody else edited the file.
"""

import collections
import concurrent.futures
import dataclasses
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg, types

from nested_agent.actions.changes import Changes
from nested_agent.actions.nova_file import EditNovaFile, Edits
from nested_agent.actions.restore import RestoreFile
from nested_agent.actions.site import Site
from nested_agent.exceptions import StepError
from nested_agent.facts import NovaCompute, Setting, Unread
from nested_agent.model import Action, ActionKind, Disruption
from nested_agent.node import nova
from nested_agent.node.root import Root
from nested_agent.verify.nova_settings import file_to_set

VIRT_TYPE, MODE = 'libvirt.virt_type', 'libvirt.cpu_mode'
MODELS, FLAGS = 'libvirt.cpu_models', 'libvirt.cpu_model_extra_flags'

KEYS = (
    *('cpu_mode', 'cpu_mode', 'virt_type', 'cpu_models', 'cpu_model', 'cpu_model_extra_flags'),
    *('cpu-mode', 'CPU_MODE', 'images_type', 'password', 'multi', 'cpu_mode_x', 'x.cpu_mode'),
)
VALUES = (
    *('custom', 'host-model', 'host-passthrough', 'none', 'kvm', 'qemu', 'EPYC', 'Nehalem,EPYC'),
    *('svm', '+vmx, pcid', 'A,', '', '""', '"custom"', "'kvm'", 'a=b:c', '$virt_type', '$$x'),
    *('${libvirt.virt_type}', '\\$x', 'schön', '\u65e5\u672c', 'x # y', '; z', "'", '"', '%s'),
)
#: Most lines say what they may, or hardly any file would be as a whole.
GOOD: Mapping[str, Sequence[str]] = {
    'cpu_mode': ('custom', 'host-model', 'host-passthrough', 'none', '"custom"', "'none'"),
    'virt_type': ('kvm', 'kvm', 'qemu', '"kvm"', '${libvirt.virt_type_x}'),
    'cpu_models': ('EPYC', 'Nehalem,EPYC', 'A,', '', '$virt_type', '"x86.64"', 'A, B ,C'),
    'cpu_model': ('EPYC', 'Nehalem,EPYC', '', '$cpu_mode', "'A,B'"),
    'cpu_model_extra_flags': ('svm', '+vmx, pcid', '-VMX', '', 'a, $virt_type', 'pcid,,'),
}
SECTIONS = (
    *('libvirt', 'libvirt', 'libvirt', 'LibVirt', 'LIBVIRT', 'DEFAULT', 'default', 'neutron'),
    *('libvirt ', 'lib]virt', 'x y'),
)
SPACED = (*('', ' # c', '\t; c', '\x0b', '\x0c', '\x85', '\u2028', '\xa0'),)
BROKEN = (
    *('\ufeff', ' [libvirt]', '[libvirt] # c', '[]', '[libvirt', 'word', '=', ' = x', ': y'),
    *('config_source = remote', 'cpu_mode', b'\xff\xfe', b'\xe9\n', '\x00'),
)
ENDINGS = ('\n', '\n', '\n', '\n', '\r\n', '\r\n', '\r')
# Values that a remediation asks for, and values that oslo.config would not give back as they are.
WISHES: Mapping[str, Sequence[str | None]] = {
    VIRT_TYPE: ('kvm', 'kvm', 'qemu', None),
    MODE: ('host-passthrough', 'host-passthrough', 'host-model', 'custom', None),
    MODELS: (None, None, 'EPYC', 'Nehalem,EPYC-Rome'),
    FLAGS: ('svm', 'vmx', 'pcid,svm', '+svm,-vmx', None, None),
}
AWKWARD: Mapping[str, Sequence[str]] = {
    VIRT_TYPE: ('KVM', ' kvm', 'kvm\n'),
    MODE: ('', '"custom"', 'custom # c'),
    MODELS: (
        '$virt_type',
        'a\\$b',
        '"q"',
        "'",
        'a,',
        'x\ny',
        'x\n\ny',
        ' lead',
        'tail ',
        '\r',
        'ü',
    ),
    FLAGS: ('a\rb', 'a\u2028b', '\ud800', '"', 'a, b', '${x', '\x00'),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """What one seed stands for."""

    files: Mapping[str, bytes]
    wish: Mapping[str, str | None]
    awkward: bool


def generate(seed: int) -> Case:
    rng = random.Random(seed)
    names = ('/etc/nova/nova.conf', '/etc/nova/nova-compute.conf', '/etc/nova/cell.conf')
    count = rng.choices((1, 2, 3), (6, 3, 1))[0]
    files = {name: _content(rng) for name in names[:count]}
    options = rng.sample(list(WISHES), rng.choices((1, 2, 3, 4), (4, 4, 2, 1))[0])
    wish = {option: rng.choice(WISHES[option]) for option in options}
    awkward = rng.random() < 0.08
    if awkward:
        option = rng.choice(options)
        wish[option] = rng.choice(AWKWARD[option])
    return Case(files, wish, awkward)


def _content(rng: random.Random) -> bytes:
    if rng.random() < 0.03:
        return rng.choice((b'', b'\n', b'# c', b'\r\n', b'[libvirt]', b'[libvirt]\n\n'))
    ending = rng.choice(ENDINGS)
    mixed = rng.random() < 0.1
    broken = rng.random() < 0.06
    pieces: list[bytes] = []
    lines = [f'[{rng.choice(SECTIONS)}]'] if rng.random() < 0.97 else []
    for _ in range(rng.randrange(14)):
        lines += _lines(rng)
    if broken:
        lines.insert(rng.randrange(len(lines) + 1), '\0broken')
    for line in lines:
        text = rng.choice(BROKEN) if line == '\0broken' else line
        raw = text if isinstance(text, bytes) else text.encode()
        pieces.append(raw + (rng.choice(ENDINGS) if mixed else ending).encode())
    content = b''.join(pieces)
    return content.rstrip(b'\r\n') if rng.random() < 0.25 else content


def _lines(rng: random.Random) -> list[str]:
    kind = rng.random()
    if kind < 0.12:
        return [f'[{rng.choice(SECTIONS)}]' + rng.choice((*[''] * 6, ' ', '\x0b'))]
    if kind < 0.22:
        return [rng.choice(('', '', ' ', '\t ', '\x0c', '# comment', ';x', '#cpu_mode = none'))]
    blank = rng.choice(('', ' ', ' ', '\t', '  '))
    separator = rng.choice(('=', '=', '=', ':'))
    key = rng.choice(KEYS)
    good = GOOD.get(key, VALUES) if rng.random() < 0.93 else VALUES
    value = rng.choice(good) + rng.choice(SPACED) * (rng.random() < 0.05)
    lines = [f'{key}{blank}{separator}{blank}{value}']
    # A list that goes on, or what was indented by mistake.
    more = 0.5 if value.endswith(',') else 0.08 if key not in GOOD else 0.02
    while rng.random() < more:
        lines.append(rng.choice((' ', '\t', '    ')) + rng.choice(VALUES[:9]))
    return lines


class Oracle:
    """oslo.config itself, with more options than the agent looks at."""

    OPTS = (
        cfg.StrOpt('virt_type', default='kvm', choices=('kvm', 'lxc', 'qemu', 'parallels')),
        cfg.StrOpt('cpu_mode', choices=('host-model', 'host-passthrough', 'custom', 'none')),
        cfg.ListOpt('cpu_models', deprecated_name='cpu_model', default=[]),
        cfg.ListOpt('cpu_model_extra_flags', item_type=types.String(ignore_case=True), default=[]),
        cfg.StrOpt('images_type'),
        cfg.StrOpt('password'),
        cfg.StrOpt('cpu_mode_x'),
        cfg.MultiStrOpt('multi', default=[]),
    )

    def __init__(self, files: Sequence[Path]) -> None:
        """Load files as nova-compute does.

        :raises Exception: whatever oslo.config refuses them with
        """
        self.conf = cfg.ConfigOpts()
        for group in ('libvirt', 'neutron', None):
            self.conf.register_opts(self.OPTS, group=group)
        arguments = [f'--config-file={file}' for file in files]
        self.conf(arguments, project='nova', prog='nova-compute', use_env=False)

    def values(self) -> dict[str, Any]:
        return {
            f'{group or "DEFAULT"}.{opt.dest}': self.value(group, opt.dest)
            for group in ('libvirt', 'neutron', None)
            for opt in self.OPTS
        }

    def value(self, group: str | None, name: str) -> Any:
        try:
            return self.conf[group][name] if group else self.conf[name]
        except (ValueError, cfg.Error, RecursionError) as error:
            return type(error).__name__


class WrongError(Exception):
    """The agent did something wrong."""


def attempt(seed: int, directory: Path) -> str:
    """Try one case in an empty directory, and return what came of it.

    :raises WrongError: it is wrong
    """
    case = generate(seed)
    tree = directory / 'tree'
    for name, content in case.files.items():
        file = tree / name[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    state = directory / 'state'
    state.mkdir()
    root = Root(tree)
    files = [tree / name[1:] for name in case.files]
    try:
        before: dict[str, Any] | None = Oracle(files).values()
    except (cfg.Error, ValueError, SystemExit):
        before = None
    compute = nova.read(root, config_files=list(case.files))
    if not isinstance(compute, NovaCompute):
        raise WrongError(f'{compute}')
    site = Site(root, lambda: None, Changes(state), state, None)  # type: ignore[return-value]
    actions = list(_actions(compute, case.wish))
    if not actions:
        return 'nothing to do'
    edits = Edits(site, compute, actions)
    steps = [EditNovaFile(edits, path) for path in edits.planned]
    try:
        for step in steps:
            step.precheck()
    except StepError as error:
        _untouched(tree, case)
        excused = case.awkward or _refers(case) or _fetches(case) or _broken(compute, case)
        if before is not None and not excused:
            raise WrongError(f'refused without a reason: {error}') from error
        return 'refused'
    if before is None:
        raise WrongError('edited although oslo.config does not load it')
    records = []
    for step in steps:
        records.append(step.record())
        step.apply()
        step.verify()
    _effective(case, before, Oracle(files))
    _others_kept(case, tree)
    return _taken_back(random.Random(seed), site, case, tree, records, before)


def _actions(compute: NovaCompute, wish: Mapping[str, str | None]) -> Any:
    settings: Mapping[str, Setting] = {}
    if not isinstance(compute.settings, Unread):
        settings = compute.settings
    for option, after in wish.items():
        setting = settings.get(option)
        if after is not None:
            targets = [f'{file_to_set(compute, setting)} {option}']
        elif setting:
            names = [f'{each.where.file} {each.name}' for each in setting.occurrences]
            targets = list(dict.fromkeys(names))
        else:
            targets = [f'{compute.files[0].path} {option}'] if compute.files else []
        kind = ActionKind.REMOVE_NOVA_OPTION if after is None else ActionKind.SET_NOVA_OPTION
        for target in targets:
            yield Action(kind, target, None, after, '', Disruption.NONE)


def _refers(case: Case) -> bool:
    """Whether the value of an option may come from another one that changes."""
    text = b''.join(case.files.values())
    return re.search(rb'[$][{]?(libvirt[.])?(virt_type|cpu_mode)', text) is not None


def _fetches(case: Case) -> bool:
    """Whether options may come from a place that is not read here; oslo.config only warns."""
    return any(b'config_source' in content for content in case.files.values())


def _broken(compute: NovaCompute, case: Case) -> bool:
    """Whether an option that is not to change has a value that is none."""
    settings = {} if isinstance(compute.settings, Unread) else compute.settings
    return any(
        isinstance(each.value, Unread) and name not in case.wish for name, each in settings.items()
    )


def _untouched(tree: Path, case: Case) -> None:
    for name, content in case.files.items():
        if (tree / name[1:]).read_bytes() != content:
            raise WrongError(f'{name} was refused, but touched')
    _nothing_left(tree, case)


def _nothing_left(tree: Path, case: Case) -> None:
    left = {str(path.relative_to(tree)) for path in tree.rglob('*') if path.is_file()}
    if left != {name[1:] for name in case.files}:
        raise WrongError(f'left behind: {left}')


def _effective(case: Case, before: Mapping[str, Any], oracle: Oracle) -> None:
    defaults: dict[str, Any] = {VIRT_TYPE: 'kvm', MODE: None, MODELS: [], FLAGS: []}
    after = oracle.values()
    follows = _refers(case)
    for name, old in before.items():
        if name not in case.wish:
            if follows and name not in WISHES:
                continue  # its text is the same, see _others_kept
            expected = old
        elif case.wish[name] is None:
            expected = defaults[name]
        elif name in (MODELS, FLAGS):
            expected = str(case.wish[name]).split(',')
        else:
            expected = case.wish[name]
        if after[name] != expected:
            raise WrongError(f'{name} is {after[name]!r}, not {expected!r}')


def _others_kept(case: Case, tree: Path) -> None:
    names = {option.partition('.')[2] for option in case.wish}
    if 'cpu_models' in names:
        names.add('cpu_model')
    for name, content in case.files.items():
        old = rest(content, names)
        new = rest((tree / name[1:]).read_bytes(), names)
        if re.search(rb'\r(?!\n)', content) and b'\n' in content:
            # Where a line between "\r" and "\n" went, the two are one ending now.
            old, new = (re.sub(rb'[\r\n]+', b'\n', each) for each in (old, new))
        # A section may have been added, behind a blank line.
        if not new.startswith(old) or new[len(old) :].strip() not in (b'', b'[libvirt]'):
            raise WrongError(f'{name}: other lines differ')


def rest(content: bytes, names: set[str]) -> bytes:
    """Return the lines that say nothing of options of these names in a section libvirt."""
    lines = re.findall(rb'[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+', content)
    kept = []
    section = ''
    ours = False
    for line in lines:
        text = line.decode().rstrip()
        if text.startswith((' ', '\t')):
            if not ours:
                kept.append(line)
            continue
        ours = False
        if text.startswith('['):
            section = text[1:-1].lower()
        elif text and text[0] not in '#;' and section == 'libvirt':
            ours = re.split('[:=]', text)[0].strip() in names
        if not ours:
            kept.append(line)
    return b''.join(kept)


def _taken_back(
    rng: random.Random,
    site: Site,
    case: Case,
    tree: Path,
    records: Sequence[Mapping[str, Any]],
    before: Mapping[str, Any],
) -> str:
    """Undo, or keep and revert, or revert what somebody else edited since."""
    way = rng.choice(('undone', 'reverted', 'reverted behind others'))
    if way == 'undone':
        for record in reversed(records):
            EditNovaFile.undo(site, record, rebooted=False)
    else:
        for record in records:
            EditNovaFile.forget(site, record)
    foreign = b'# theirs\n' if way == 'reverted behind others' else b''
    changed = site.changes.files()
    for each in changed:
        if foreign:
            theirs = tree / each.path[1:]
            content = theirs.read_bytes()
            gap = b'' if content.endswith((b'\r', b'\n')) else b'\n'
            theirs.write_bytes(content + gap + foreign)
        step = RestoreFile(site, (), each.path)
        try:
            step.precheck()
        except StepError as error:
            if foreign and 'read back' in str(error):
                return 'edited; not reverted behind others'
            raise WrongError(f'{way}: {error}') from error
        record = step.record()
        step.apply()
        step.verify()
        RestoreFile.forget(site, record)
    if site.changes.files():
        raise WrongError(f'{way}: still recorded as changed')
    if foreign and changed:
        if Oracle([tree / name[1:] for name in case.files]).values() != before:
            raise WrongError(f'{way}: other values than before')
        for each in changed:
            if not (tree / each.path[1:]).read_bytes().endswith(foreign):
                raise WrongError(f'{way}: their line is gone')
        _nothing_left(tree, case)
    else:
        _untouched(tree, case)
    return f'edited; {way}'


def scratch() -> Path:
    """Return a new directory in memory, if there is one: a case syncs a dozen times."""
    memory = Path('/dev/shm')
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    return Path(tempfile.mkdtemp(prefix='nested-agent-fuzz-', dir=memory if usable else None))


def run(seeds: Sequence[int]) -> tuple[collections.Counter[str], list[str]]:
    """Return how often each thing came of some seeds, and what was wrong."""
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    logging.disable()  # oslo.config's warnings of options that nova deprecated
    top = scratch()
    try:
        for seed in seeds:
            directory = top / str(seed)
            directory.mkdir()
            try:
                counts[attempt(seed, directory)] += 1
            except Exception as error:  # noqa: BLE001  # a crash is a finding as well
                wrong.append(f'seed {seed}: {type(error).__name__}: {error}')
            shutil.rmtree(directory)
    finally:
        shutil.rmtree(top, ignore_errors=True)
        logging.disable(logging.NOTSET)
    return counts, wrong


def main(first: int, last: int) -> int:
    began = time.monotonic()
    counts: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    chunks = [range(at, min(at + 500, last + 1)) for at in range(first, last + 1, 500)]
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for chunk, (found, faults) in zip(chunks, pool.map(run, chunks), strict=True):
            counts += found
            wrong += faults
            sys.stderr.write('\n'.join([*faults, f'seed {chunk[-1]}: {len(wrong)} wrong\n']))
    took = time.monotonic() - began
    lines = [f'{count:8} {what}' for what, count in sorted(counts.items())]
    lines += [f'{last + 1 - first:8} configurations in {took:.0f} s']
    sys.stdout.write('\n'.join([*lines, f'{len(wrong)} handled wrongly\n']))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
