"""Our reading of modprobe.d against the real modprobe's, byte for byte.

modprobe runs in a mount namespace of its own, where the configuration directories and
/proc/cmdline are a temporary tree's: nothing of this host is read or changed. Needs root.
"""

import os
import random
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from oslotest import base

from nested_agent.facts import Kernel, LoadKind, NextLoad
from nested_agent.node import initramfs, modprobe_d, next_load
from nested_agent.node.root import Completed, Root

R = '6.1.0-modular'
BUILTIN = '6.1.0-builtin'
VARIANTS = 400
MARK = b'--- answered '

# What is bound over what; tmpfs where this host may lack the directory.
NAMESPACE = """
set -e
for i in /run /usr/local; do mount -t tmpfs tmpfs $i; done
mkdir -p /run/modprobe.d /usr/local/lib/modprobe.d
for i in /etc /run /usr/local/lib /lib; do mount --bind $1$i/modprobe.d $i/modprobe.d; done
mount --bind $1/proc/cmdline /proc/cmdline
set +e
while read -r release; do
  /usr/sbin/modprobe -d $1 -S $release -D kvm_amd 2>$1/stderr
  echo "--- answered $?"
done
"""


def elf(exports='', imports=''):
    """Return the least that depmod takes for a module: an ELF object with its symbols."""
    strings = f'\0{imports}\0'.encode()
    symbols = bytes(24) + struct.pack('<IBBHQQ', 1, 0x10, 0, 0, 0, 0)
    sections = {
        '.modinfo': (1, b'license=GPL\0', 0, 0, 0),
        '__ksymtab_strings': (1, f'{exports}\0'.encode(), 0, 0, 0),
        '.symtab': (2, symbols, 4, 1, 24),
        '.strtab': (3, strings, 0, 0, 0),
    }
    names = '\0' + '\0'.join([*sections, '.shstrtab']) + '\0'
    sections['.shstrtab'] = (3, names.encode(), 0, 0, 0)
    body, headers, at = b'', bytes(64), 64
    for name, (kind, data, link, info, size) in sections.items():
        headers += struct.pack(
            '<IIQQQQIIQQ',
            names.index(f'\0{name}\0') + 1,
            kind,
            0,
            0,
            at,
            len(data),
            link,
            info,
            1,
            size,
        )
        body += data
        at += len(data)
    head = struct.pack(
        '<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', 1, 62, 1, 0, 0, at, 0, 64, 0, 0, 64,
        len(sections) + 1, len(sections),
    )  # fmt: skip
    return head + body + headers


class Node(Root):
    """The tree as a running node, whose modprobe is the real one in the namespace."""

    def __init__(self, path, ask):
        super().__init__(path)
        self.live = True
        self.ask = ask

    def run(self, command, **options):
        return self.ask()


class ModprobeCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        for tool in ('/usr/sbin/modprobe', '/usr/sbin/depmod', '/usr/bin/unshare'):
            self.assertTrue(Path(tool).exists(), f'{tool} is missing: run tools/test-setup.sh')
        self.assertEqual(0, os.geteuid(), 'a mount namespace needs root')
        self.tree = Path(tempfile.mkdtemp(prefix='nested-agent-modprobe-'))
        self.addCleanup(shutil.rmtree, self.tree)
        (self.tree / 'usr/lib').mkdir(parents=True)
        (self.tree / 'lib').symlink_to('usr/lib')
        for name in ('etc', 'run', 'usr/local/lib', 'lib'):
            (self.tree / name / 'modprobe.d').mkdir(parents=True)
        for name in ('proc/cmdline', 'usr/sbin/modprobe'):
            (self.tree / name).parent.mkdir(parents=True)
            (self.tree / name).touch()
        self.index(R, {'kvm-amd': elf(imports='kvm_init'), 'kvm': elf('kvm_init'), 'ccp': elf()})
        self.index(BUILTIN, {}, 'kernel/arch/x86/kvm/kvm-amd.ko\n')
        self.release = R
        self.shell: Any = subprocess.Popen(
            ['/usr/bin/unshare', '-m', '/bin/sh', '-c', NAMESPACE, 'sh', str(self.tree)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL': 'C'},
        )
        self.addCleanup(self.stop)

    def stop(self):
        self.shell.stdin.close()
        self.shell.stdout.close()
        self.assertEqual(0, self.shell.wait(10))

    def index(self, release, modules, builtin=''):
        directory = self.tree / 'lib/modules' / release / 'kernel'
        directory.mkdir(parents=True)
        for name, content in modules.items():
            (directory / f'{name}.ko').write_bytes(content)
        for name, text in (('order', ''), ('builtin', builtin), ('builtin.modinfo', '')):
            (directory.parent / f'modules.{name}').write_text(text)
        subprocess.run(['/usr/sbin/depmod', '-b', self.tree, release], check=True)

    def ask(self):
        """Return what modprobe -D answers now."""
        self.shell.stdin.write(f'{self.release}\n'.encode())
        self.shell.stdin.flush()
        rows = []
        while not (row := self.shell.stdout.readline()).startswith(MARK):
            self.assertNotEqual(b'', row, 'the namespace is gone')
            rows.append(row)
        text = b''.join(rows).decode(errors='replace')
        errors = (self.tree / 'stderr').read_text(errors='replace')
        self.answer = Completed(int(row.removeprefix(MARK)), text, errors)
        return self.answer

    def write(self, files, cmdline=''):
        for name in ('etc', 'run', 'usr/local/lib', 'lib'):
            for path in (self.tree / name / 'modprobe.d').iterdir():
                path.unlink()
        for name, content in files.items():
            path = self.tree / name.lstrip('/')
            if content is None:
                path.symlink_to('/dev/null')
            else:
                path.write_bytes(content)
        (self.tree / 'proc/cmdline').write_text(f'{cmdline}\n')

    def both(self, files, cmdline=''):
        """Return the next load by modprobe and by our own reading of the same tree."""
        self.write(files, cmdline)
        kernel = Kernel(self.release, cmdline)
        live = next_load.read(Node(self.tree, self.ask), 'kvm_amd', kernel)
        captured = next_load.read(Root(self.tree), 'kvm_amd', kernel)
        self.assertIsInstance(live, NextLoad, str(live))
        return live, captured

    def one(self, text, cmdline=''):
        live, captured = self.both({'/etc/modprobe.d/a.conf': text}, cmdline)
        self.assertEqual(
            (live.kind, live.options, live.command),
            (captured.kind, captured.options, captured.command),
        )
        return live


class TestAgreement(ModprobeCase):
    def test_many_configurations(self):
        chance = random.Random(20)
        kinds = dict.fromkeys(LoadKind, 0)
        for number in range(VARIANTS):
            files, cmdline = configuration(chance)
            live, captured = self.both(files, cmdline)
            shown = f'variant {number}: {files!r} {cmdline!r}'
            self.assertEqual(
                (live.kind, live.options, live.command, live.lines),
                (captured.kind, captured.options, captured.command, captured.lines),
                shown,
            )
            if live.kind is LoadKind.MODULE:
                text = modprobe_d.options(captured.lines)
                row = f'/kvm-amd.ko {text} \n' if text else '/kvm-amd.ko \n'
                self.assertIn(row, self.answer.stdout, shown)
            kinds[live.kind] += 1
        # A generator that always says the same proves nothing.
        self.assertGreater(kinds[LoadKind.MODULE], VARIANTS // 2)
        self.assertGreater(kinds[LoadKind.INSTALL], VARIANTS // 50)
        self.assertGreater(kinds[LoadKind.MISSING], 2)

    def test_every_directory_masks_the_next(self):
        names = ('etc', 'run', 'usr/local/lib', 'lib')
        for first in range(len(names)):
            for content in (b'options kvm_amd first=1\n', b'', None):
                files: dict[str, bytes | None] = {
                    f'/{name}/modprobe.d/{base}.conf': f'options kvm_amd {base}={at}\n'.encode()
                    for at, name in enumerate(names[first:])
                    for base in ('a', 'Z')
                }
                files[f'/{names[first]}/modprobe.d/a.conf'] = content
                live, captured = self.both(files)
                self.assertEqual(live.options, captured.options)
                self.assertEqual('Z=0', live.options[0])
                self.assertEqual(2 if content else 1, len(live.options))

    def test_install_and_softdep(self):
        install = b'install kvm-* /bin/false  x\noptions kvm_amd nested=1\n'
        found = self.one(install)
        self.assertEqual((LoadKind.INSTALL, '/bin/false  x'), (found.kind, found.command))
        self.assertEqual(LoadKind.MODULE, self.one(install + b'softdep kvm_amd pre: ccp\n').kind)
        self.assertEqual(LoadKind.INSTALL, self.one(install + b'softdep kvm_amd pre: no\n').kind)

    def test_install_of_a_dependency(self):
        found = self.one(b'install kvm /bin/false\noptions kvm_amd nested=1\n')
        self.assertEqual((LoadKind.MODULE, ('nested=1',)), (found.kind, found.options))
        self.assertEqual([('kvm', None), ('kvm_amd', None)], [
            (line.module, line.ignored) for line in found.lines
        ])  # fmt: skip

    def test_alias(self):
        for text in (b'alias kvm_amd off\n', b'alias kvm-* ccp\noptions ccp nested=1\n'):
            self.assertEqual(LoadKind.MISSING, self.one(text).kind)

    def test_builtin(self):
        self.release = BUILTIN
        found = self.one(b'options kvm_amd nested=0\n', 'kvm_amd.nested=1')
        self.assertEqual((LoadKind.BUILTIN, ('nested=1',)), (found.kind, found.options))

    def test_missing(self):
        self.release = BUILTIN
        (self.tree / 'lib/modules' / BUILTIN / 'modules.builtin').write_text('')
        subprocess.run(['/usr/sbin/depmod', '-b', self.tree, BUILTIN], check=True)
        self.assertEqual(LoadKind.MISSING, self.one(b'').kind)

    def test_nothing_of_the_host_is_read(self):
        self.write({}, '')
        self.assertTrue(self.ask().stdout.endswith('/kvm-amd.ko \n'))
        self.assertFalse(initramfs._read_before)


NAMES = (b'kvm_amd', b'kvm-amd', b'kvm_amd', b'kvm_amd', b'kvm', b'kvm_intel', b'KVM_AMD')
GLOBS = (*NAMES, b'kvm*', b'kvm-[a-b]md', b'kvm_[^a]*', b'kvm_am?', b'kvm_[a')
BLANKS = (b' ', b' ', b' ', b'\t', b'  ', b' \t ')
ODDITIES = (b'', b'', b'', b'\r', b' # c', b'\0x', b'\\', b'\xff', b'\\\n', b'"', b'\x0b', b' ')
OPTIONS = (b'nested=1', b'nested=0', b'npt=1', b'a="b c"', b'"n=1"', b'x', b'--', b'#y', b'$Z')
BASENAMES = ('a', 'b', 'B', '10-kvm', 'zz', 'modprobe', '\u00e9', '.h', 'k.v')
ARGUMENTS = (
    'kvm_amd.nested=0', 'kvm-amd.nested="1"', '"kvm_amd.nested=1"', 'kvm_amd.a="b c"', 'kvm_amd.x',
    'ro', 'kvm.nested=1', '--', '"kvm_amd.a=b c"', '"kvm_amd.y"', 'kvm_amd.a.b=c', 'x"kvm_amd.q=1"',
    '"', 'kvm_amd.', 'modprobe.blacklist=kvm_amd', 'root=UUID="x y"', '""', '"kvm_amd.p="1 2"',
)  # fmt: skip


def configuration(chance):
    """Return random modprobe.d files and a random kernel command line."""
    files = {}
    for _ in range(chance.randint(1, 6)):
        directory = chance.choice(('etc', 'run', 'usr/local/lib', 'lib'))
        ending = chance.choice(('.conf', '.conf', '.conf', '.conf', '.CONF', '.conf.bak'))
        content = b''.join(statement(chance) for _ in range(chance.randint(0, 5)))
        if chance.random() < 0.3:
            content = content.rstrip(b'\n\\')
        # A backslash that ends the file is a byte 0xFF to kmod before 34.
        path = f'/{directory}/modprobe.d/{chance.choice(BASENAMES)}{ending}'
        files[path] = None if chance.random() < 0.05 else content.removesuffix(b'\\')
    return files, ' '.join(chance.choices(ARGUMENTS, k=chance.randint(0, 4)))


def statement(chance):
    """Return one random line, most often of options."""
    words = [chance.choice((b'', b'', b'', b' ', b'\t'))]
    kind = chance.random()
    if kind < 0.8:
        keyword = chance.choice((b'options',) * 12 + (b'Options', b'#options', b'include'))
        words += [keyword, chance.choice(BLANKS), chance.choice(NAMES)]
        for _ in range(chance.randint(0, 3)):
            words += [chance.choice(BLANKS), chance.choice(OPTIONS), chance.choice(ODDITIES)]
    elif kind < 0.9:
        keyword = chance.choice((b'install', b'remove', b'softdep'))
        words += [
            keyword,
            b' ',
            chance.choice(GLOBS),
            b' ',
            chance.choice((b'pre: ccp', b'/bin/x')),
        ]
    elif kind < 0.91:
        words += [b'alias ', chance.choice((b'kvm_amd', b'kvm-amd')), b' ', b'off']
    else:
        words += [b'# ', chance.choice(NAMES), chance.choice(ODDITIES)]
    words.append(chance.choice((b'\n', b'\n', b'\n', b'\r\n', b'\\\n')))
    return b''.join(words)
