"""The modprobe.d reader: which line counts, which does not, and why."""

import errno
import os
from pathlib import Path

from oslotest import base

from nested_agent.facts import LineKind, Unread
from nested_agent.node import arguments, modprobe_d
from nested_agent.node.root import Root
from tests.unit import fakes

SUSPECTS = ('kvm', 'amd', 'svm', 'kvm_svm')


def read(root):
    return modprobe_d.load(root)


class ReaderCase(base.BaseTestCase):
    def load(self, files, live=False):
        tree = fakes.make_tree(files)
        self.addCleanup(tree.cleanup)
        self.base = Path(tree.name)
        root = fakes.FakeRoot(self.base, live=live)
        return read(root)

    def lines(self, files, cmdline=''):
        configuration = self.load(files)
        self.assertNotIsInstance(configuration, Unread)
        return modprobe_d.lines(configuration.files, 'kvm_amd', cmdline, SUSPECTS)

    def one_file(self, text, cmdline=''):
        return self.lines({'/etc/modprobe.d/x.conf': text}, cmdline)

    def options(self, text, cmdline=''):
        return modprobe_d.options(self.one_file(text, cmdline))

    @staticmethod
    def brief(lines):
        return [(str(line.where), line.text, line.ignored) for line in lines]


class TestDirectories(ReaderCase):
    def test_basename_decides_across_directories(self):
        found = self.lines(
            {
                '/etc/modprobe.d/a.conf': 'options kvm_amd nested=0\n',
                '/usr/lib/modprobe.d/zz.conf': 'options kvm_amd nested=1\n',
                '/run/modprobe.d/B.conf': 'options kvm_amd npt=1\n',
            }
        )
        # 'B' sorts before 'a': bytes are compared.
        self.assertEqual('npt=1 nested=0 nested=1', modprobe_d.options(found))

    def test_earlier_directory_masks(self):
        found = self.lines(
            {
                '/etc/modprobe.d/kvm.conf': 'options kvm_amd nested=1\n',
                '/lib/modprobe.d/kvm.conf': '\noptions kvm_amd nested=0\noptions amd nested=0\n',
            }
        )
        self.assertEqual(
            [
                ('/etc/modprobe.d/kvm.conf:1', 'nested=1', None),
                ('/lib/modprobe.d/kvm.conf:2', 'nested=0', 'masked by /etc/modprobe.d/kvm.conf'),
            ],
            self.brief(found),
        )

    def test_link_to_null_masks(self):
        found = self.lines(
            {
                '/etc/modprobe.d/kvm.conf': '-> /dev/null',
                '/usr/lib/modprobe.d/kvm.conf': 'options kvm_amd nested=0\n',
            }
        )
        reason = 'masked by /etc/modprobe.d/kvm.conf, a link to /dev/null'
        self.assertEqual(
            [('/usr/lib/modprobe.d/kvm.conf:1', 'nested=0', reason)], self.brief(found)
        )

    def test_null_device_masks_on_the_running_node(self):
        files = read(_Redirected(self, {'/etc/modprobe.d/n.conf': '/dev/null'})).files
        self.assertEqual([('/etc/modprobe.d/n.conf', '')], [(f.path, f.text) for f in files])

    def test_merged_usr_is_read_once(self):
        found = self.lines(
            {
                '/usr/lib/modprobe.d/kvm.conf': 'options kvm_amd nested=0\n',
                '/lib': '-> usr/lib',
            }
        )
        self.assertEqual([('/usr/lib/modprobe.d/kvm.conf:1', 'nested=0', None)], self.brief(found))

    def test_absolute_link_stays_in_the_tree(self):
        found = self.lines(
            {
                '/etc/modprobe.d/kvm.conf': '-> /opt/kvm.conf',
                '/opt/kvm.conf': 'options kvm_amd nested=0\n',
            }
        )
        self.assertEqual([('/etc/modprobe.d/kvm.conf:1', 'nested=0', None)], self.brief(found))

    def test_what_is_no_file_neither_counts_nor_masks(self):
        files = {
            '/etc/modprobe.d/a.conf/x': '',
            '/etc/modprobe.d/b.conf': '-> /nowhere',
            '/etc/modprobe.d/c.conf': '-> c.conf',
        }
        for name in 'abc':
            files[f'/lib/modprobe.d/{name}.conf'] = f'options kvm_amd {name}=1\n'
        self.assertEqual('a=1 b=1 c=1', modprobe_d.options(self.lines(files)))

    def test_other_names_are_listed_if_they_say_something(self):
        found = self.lines(
            {
                '/etc/modprobe.d/kvm.conf.bak': '# old\noptions kvm-amd nested=0\n',
                '/etc/modprobe.d/.kvm.conf': 'options kvm_amd nested=0\n',
                '/etc/modprobe.d/README': 'kvm is mentioned here\n',
                '/etc/modprobe.d/fifo/kvm.conf': 'options kvm_amd nested=0\n',
            }
        )
        self.assertEqual(
            [
                ('/etc/modprobe.d/.kvm.conf:1', 'nested=0', 'a hidden file'),
                ('/etc/modprobe.d/kvm.conf.bak:2', 'nested=0', 'not a .conf file'),
            ],
            self.brief(found),
        )

    def test_unreadable_file_leaves_the_load_unknown(self):
        found = read(
            _Redirected(
                self, {'/lib/modprobe.d/u.conf': PermissionError(errno.EACCES, 'Permission denied')}
            )
        )
        self.assertEqual(('/lib/modprobe.d/u.conf', 'EACCES'), (found.source, found.error))

    def test_unreadable_masked_file_does_not_matter(self):
        wrong = {'/lib/modprobe.d/u.conf': PermissionError(errno.EACCES, 'Permission denied')}
        found = read(_Redirected(self, wrong, {'/etc/modprobe.d/u.conf': '#'}))
        self.assertEqual(['/etc/modprobe.d/u.conf'], [file.path for file in found.files])

    def test_no_directory_at_all(self):
        self.assertEqual((), self.load({}).files)

    def test_changed_is_the_latest_of_files_and_directories(self):
        self.load({'/etc/modprobe.d/a.conf': '', '/lib/modprobe.d/b.conf': ''})
        for name, time in (('etc', 100), ('lib', 200)):
            for path in (*(self.base / name / 'modprobe.d').iterdir(), self.base / name):
                os.utime(path, (time, time))
            os.utime(self.base / name / 'modprobe.d', (time + 50, time + 50))
        self.assertEqual(250, read(Root(self.base)).changed)
        os.utime(self.base / 'etc/modprobe.d/a.conf', (300, 300))
        self.assertEqual(300, read(Root(self.base)).changed)
        # On the running node a file moved here from elsewhere keeps its mtime, not its ctime.
        self.assertGreater(read(fakes.FakeRoot(self.base)).changed, 1e9)


class _Redirected(fakes.FakeRoot):
    """A running node where some files are devices of this host, or fail."""

    def __init__(self, test, special, files=None):
        tree = fakes.make_tree({**dict.fromkeys(special, ''), **(files or {})})
        test.addCleanup(tree.cleanup)
        super().__init__(Path(tree.name))
        self.special = special

    def path(self, name):
        special = self.special.get(name)
        if isinstance(special, str):
            return Path(special)
        return super().path(name)

    def read_bytes(self, name, limit=1 << 20):
        if isinstance(self.special.get(name), OSError):
            raise self.special[name]
        return super().read_bytes(name, limit)


class TestStatements(ReaderCase):
    def test_dash_is_underscore(self):
        self.assertEqual('nested=1', self.options('options kvm-amd nested=1\n'))

    def test_blanks_and_tabs(self):
        self.assertEqual('  a=1 b=2 ', self.options(' \t options\t kvm_amd   a=1\tb=2 \n'))

    def test_trailing_comment_is_none(self):
        self.assertEqual('nested=1 # on', self.options('options kvm_amd nested=1 # on\n'))

    def test_continuation_keeps_the_first_line_number(self):
        found = self.one_file('\noptions \\\nkvm_amd \\\n  nested=1\noptions kvm_amd b=1\n')
        self.assertEqual(
            [
                ('/etc/modprobe.d/x.conf:2', '  nested=1', None),
                ('/etc/modprobe.d/x.conf:5', 'b=1', None),
            ],
            self.brief(found),
        )

    def test_name_across_a_continuation(self):
        self.assertEqual('nested=1', self.options('options k\\\nvm_amd nested=1'))

    def test_comment_continues_too(self):
        self.assertEqual((), self.one_file('# old: \\\noptions kvm_amd nested=0\n'))

    def test_backslash_disappears(self):
        self.assertEqual('a=\\n b', self.options('options kvm_amd a=\\\\n \\b\\'))

    def test_carriage_return_stays(self):
        found = self.one_file('options kvm_amd nested=1\r\nblacklist kvm_amd\r\n')
        self.assertEqual(['nested=1\r', ''], [line.text for line in found])
        self.assertEqual([None, 'no module of that name'], [line.ignored for line in found])

    def test_nul_ends_a_line(self):
        self.assertEqual(
            'a=1 c=1', self.options(b'options kvm_amd a=1\0b=1\noptions kvm_amd c=1'.decode())
        )

    def test_bytes_that_are_no_text(self):
        found = self.one_file(b'# \xff\xe9\noptions kvm_amd x=\xff nested=1\n')
        self.assertEqual('x=\ufffd nested=1', modprobe_d.options(found))

    def test_very_long_line(self):
        pad = 'a' * 300_000
        self.assertEqual(f'{pad} nested=1', self.options(f'options kvm_amd {pad} nested=1'))

    def test_wrong_keywords_are_shown(self):
        found = self.one_file(
            'Options kvm_amd nested=1\noption kvm_amd nested=1\nkvm_amd nested=1\n'
            '\ufeffoptions kvm_amd a=1\n #options kvm_amd b=1\ninclude kvm_amd c=1\n'
        )
        self.assertEqual(
            [
                (LineKind.OPTIONS, "'Options' is no keyword of modprobe.d"),
                (LineKind.UNKNOWN, "'option' is no keyword of modprobe.d"),
                (LineKind.OPTIONS, "'\\ufeffoptions' is no keyword of modprobe.d"),
            ],
            [(line.kind, line.ignored) for line in found],
        )

    def test_options_without_options(self):
        (found,) = self.one_file('options kvm_amd\n')
        self.assertEqual('nothing follows the name', found.ignored)

    def test_wrong_names_are_shown_where_they_mean_nesting(self):
        found = self.one_file(
            'options amd nested=1\noptions kvm-svm npt=1 nested=1\noptions KVM_AMD nested=1\n'
            'options kvm_amd.ko nested=1\noptions kvm ignore_msrs=1\noptions other nested=1\n'
            'options kvm_intel nested=1\n'
        )
        self.assertEqual(
            ['amd', 'kvm-svm', 'KVM_AMD', 'kvm_amd.ko'], [line.module for line in found]
        )
        self.assertEqual({arguments.NO_SUCH_MODULE}, {line.ignored for line in found})

    def test_every_kind_of_statement(self):
        found = self.one_file(
            'install kvm* /bin/false now\nremove kvm_amd /bin/true\nsoftdep kvm_amd pre: ccp\n'
            'blacklist kvm-amd\nalias kvm_amd off\nalias pci:1022 kvm_amd\nalias kvm-amd kvm_amd\n'
            'softdep ccp post: kvm_amd\ninstall kvm_[^i]* x\ninstall kvm_[!a]* y\n'
        )
        self.assertEqual(
            [
                ('install', 'kvm*', '/bin/false now'),
                ('remove', 'kvm_amd', '/bin/true'),
                ('softdep', 'kvm_amd', 'pre: ccp'),
                ('blacklist', 'kvm-amd', ''),
                ('alias', 'kvm_amd', 'off'),
                ('install', 'kvm_[^i]*', 'x'),
            ],
            [(line.kind.value, line.module, line.text) for line in found],
        )

    def test_globs_are_literal_for_options_and_blacklist(self):
        self.assertEqual('', self.options('options kvm_am? nested=1\nblacklist kvm_*\n'))

    def test_dash_in_brackets_is_a_range(self):
        (found,) = self.one_file('install kvm-[a-b]md /bin/false\ninstall kvm-[a-bmd /bin/true\n')
        self.assertEqual('/bin/false', found.text)

    def test_lines_in_force_come_first_then_arguments(self):
        found = self.one_file(
            'options amd nested=0\noptions kvm_amd nested=0\n',
            'quiet kvm-amd.nested=1 amd.nested=1',
        )
        self.assertEqual(
            [('kvm_amd', None), ('kvm-amd', None)],
            [(line.module, line.ignored) for line in found[:2]],
        )
        self.assertEqual('/proc/cmdline:1', str(found[1].where))
        self.assertEqual({arguments.NO_SUCH_MODULE}, {line.ignored for line in found[2:]})
        self.assertEqual(4, len(found))
        self.assertEqual('nested=0 nested=1', modprobe_d.options(found))


class TestArguments(ReaderCase):
    def for_kmod(self, cmdline):
        return [line.text for line in arguments.for_kmod(cmdline, 'kvm_amd', ())]

    def test_quotes(self):
        self.assertEqual(
            ['nested="1"', 'a="b c"', 'd="e f"', 'g'],
            self.for_kmod(
                '"kvm_amd.nested=1" kvm_amd.a="b c" x "kvm_amd.d=e f" kvm_amd.g "kvm_amd.h"'
            ),
        )

    def test_malformed_is_dropped(self):
        self.assertEqual(
            ['ok=1'],
            self.for_kmod(
                'kvm_amd.a.b=1 kvm"_amd.c=1" "kvm_amd.d e=1" x.kvm_amd.f=1 kvm_amd.ok=1 '
                'kvm_amd.g="never ends kvm_amd.h=1'
            ),
        )

    def test_kmod_knows_no_double_dash_but_the_kernel_does(self):
        cmdline = 'kvm_amd.nested=0 -- kvm_amd.nested=1 module_blacklist=kvm_amd'
        self.assertEqual(['nested=0', 'nested=1'], self.for_kmod(cmdline))
        self.assertEqual(
            ['nested=0'], [line.text for line in arguments.for_kernel(cmdline, 'kvm_amd')]
        )
        self.assertEqual([], list(arguments.refusals(cmdline, 'kvm_amd')))

    def test_kernel_takes_dashes_and_drops_quotes(self):
        found = arguments.for_kernel('kvm-amd.nested="0" "kvm_amd.npt=1" kvm_amd', 'kvm_amd')
        self.assertEqual(['nested=0', 'npt=1'], [line.text for line in found])

    def test_blacklists(self):
        cmdline = 'modprobe.blacklist=a,kvm_amd,kvm-amd module-blacklist=kvm_amd module_blacklist=b'
        found = [
            *arguments.for_kmod(cmdline, 'kvm_amd', ()),
            *arguments.refusals(cmdline, 'kvm_amd'),
        ]
        argument = 'modprobe.blacklist=a,kvm_amd,kvm-amd'
        self.assertEqual(
            [
                ('kvm_amd', argument, None),
                ('kvm-amd', argument, 'no module of that name'),
                ('kvm_amd', 'module-blacklist=kvm_amd', 'replaced by a later module_blacklist='),
            ],
            [(line.module, line.text, line.ignored) for line in found],
        )
        self.assertEqual({LineKind.BLACKLIST}, {line.kind for line in found})

    def test_split_is_the_kernels(self):
        self.assertEqual(
            ('nested=1', 'a=x y', 'b=1 2', 'bare', 'c', 'd=', 'e=x""'),
            arguments.split('nested=1\r a="x y"\t"b=1 2" bare "c" d= e=x"" -- nested=0'),
        )
        self.assertEqual(('--x', '--=1'), arguments.split('--x --=1'))
