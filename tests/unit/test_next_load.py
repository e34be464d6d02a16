"""The next load: modprobe's word, its lines, and what a captured tree tells without modprobe."""

import errno
import os
from pathlib import Path

from oslotest import base

from nested_agent.facts import Kernel, LineKind, LoadKind, Unread
from nested_agent.node import next_load
from nested_agent.node.root import Completed
from tests.unit import fakes

R = '6.1.0-test'
DIRECTORY = f'/lib/modules/{R}'
KO = f'{DIRECTORY}/kernel/arch/x86/kvm/kvm-amd.ko'
ASK = '/usr/sbin/modprobe -D kvm_amd'
SUSPECTS = ('kvm', 'amd', 'svm')
INDEX = {
    f'{DIRECTORY}/modules.dep': (
        'kernel/arch/x86/kvm/kvm-amd.ko.xz: kernel/arch/x86/kvm/kvm.ko.xz kernel/a/ccp.ko.xz\n'
        'kernel/arch/x86/kvm/kvm.ko.xz:\nkernel/a/ccp.ko.xz:\nkernel/not-kvm-amd.ko:\n'
    ),
    f'{DIRECTORY}/modules.builtin': 'kernel/fs/ext4/ext4.ko\n',
}
UNREAD = Unread('/proc/cmdline', 'EACCES', 'no')


def read(*arguments, **named):
    return next_load.read(*arguments, **named)


class NextLoadCase(base.BaseTestCase):
    def node(self, files, *, live):
        tree = fakes.make_tree({'/usr/sbin/modprobe': '', **files})
        self.addCleanup(tree.cleanup)
        return fakes.FakeRoot(Path(tree.name), live=live)

    def live(self, answer, files=None, cmdline=''):
        root = self.node({**INDEX, **(files or {})}, live=True)
        root.commands[ASK] = answer if isinstance(answer, Unread) else Completed(*answer)
        return read(root, 'kvm_amd', Kernel(R, cmdline), suspects=SUSPECTS)

    def captured(self, files, cmdline='', index=True):
        root = self.node({**(INDEX if index else {}), **files}, live=False)
        return read(root, 'kvm_amd', Kernel(R, cmdline), suspects=SUSPECTS)


class TestLive(NextLoadCase):
    def test_module_among_its_dependencies(self):
        out = (
            f'insmod {DIRECTORY}/kernel/kvm.ko.zst nested=9 \n'
            f'insmod {KO}.zst npt=1 nested=1 nested=0 \n'
            f'insmod {DIRECTORY}/kernel/kvm-amd-extra.ko nested=8 \n'
        )
        found = self.live((0, out, 'modprobe: ERROR: ignoring bad line'))
        self.assertEqual(LoadKind.MODULE, found.kind)
        self.assertEqual(('npt=1', 'nested=1', 'nested=0'), found.options)
        self.assertEqual('modprobe -D', found.source)
        self.assertIsNone(found.command)

    def test_modprobe_wins_over_our_reading(self):
        files = {'/etc/modprobe.d/a.conf': 'options kvm_amd nested=0\n'}
        found = self.live((0, f'insmod {KO} nested=1 \n', ''), files)
        self.assertEqual(('nested=1',), found.options)
        self.assertEqual(['/etc/modprobe.d/a.conf:1'], [str(line.where) for line in found.lines])

    def test_other_white_space_ends_no_row(self):
        found = self.live((0, f'insmod {KO} a=\x0b b=\x85 nested=1\r \n', ''))
        self.assertEqual(('a=', 'b=\x85', 'nested=1'), found.options)

    def test_no_options(self):
        self.assertEqual((), self.live((0, f'insmod {KO} \n', '')).options)

    def test_builtin_knows_only_the_kernel_line(self):
        files = {'/etc/modprobe.d/a.conf': 'options kvm_amd nested=0\n'}
        found = self.live(
            (0, 'builtin kvm_amd\n', ''),
            files,
            'ro kvm-amd.nested="1" kvm_amd.npt=0 -- kvm_amd.nested=0',
        )
        self.assertEqual(LoadKind.BUILTIN, found.kind)
        self.assertEqual(('nested=1', 'npt=0'), found.options)
        self.assertEqual(
            [
                ('nested=1', None),
                ('npt=0', None),
                ('nested=0', 'the module is built in'),
                ('nested=0', 'after -- on the kernel command line'),
            ],
            [(line.text, line.ignored) for line in found.lines],
        )

    def test_builtin_without_an_index(self):
        failed = (1, '', f'modprobe: FATAL: Module kvm_amd not found in directory {DIRECTORY}\n')
        found = self.live(failed, {'/sys/module/kvm_amd/parameters/nested': '1\n'})
        self.assertEqual(LoadKind.BUILTIN, found.kind)

    def test_missing(self):
        failed = (1, '', f'modprobe: FATAL: Module kvm_amd not found in directory {DIRECTORY}\n')
        loaded = {'/sys/module/kvm_amd/initstate': 'live\n'}
        for files in ({}, loaded):
            self.assertEqual(LoadKind.MISSING, self.live(failed, files).kind)

    def test_failure_keeps_its_text(self):
        found = self.live((1, '', 'modprobe: ERROR: libkmod: lookup failed\n'))
        self.assertEqual('Failed', found.error)
        self.assertEqual('modprobe: ERROR: libkmod: lookup failed', found.detail)

    def test_timeout_is_passed_on(self):
        late = Unread(ASK, 'Timeout', 'no answer')
        self.assertEqual(late, self.live(late))

    def test_answer_that_says_nothing(self):
        self.assertEqual('Malformed', self.live((0, '', '')).error)
        self.assertEqual('Malformed', self.live((0, 'insmod /x/kvm.ko \n', '')).error)

    def test_no_modprobe(self):
        root = fakes.FakeRoot(self.node({}, live=True).base / 'empty', live=True)
        found = read(root, 'kvm_amd', Kernel(R, ''))
        self.assertEqual(('/usr/sbin/modprobe', 'ENOENT'), (found.source, found.error))

    def test_install(self):
        files = {
            '/etc/modprobe.d/a.conf': (
                'install kvm_amd /bin/false # $CMDLINE_OPTS\ninstall kvm_amd /bin/true\n'
            )
        }
        out = f'insmod {DIRECTORY}/kernel/kvm.ko \ninstall /bin/false # $CMDLINE_OPTS nested=1 \n'
        found = self.live((0, out, ''), files)
        self.assertEqual(
            (LoadKind.INSTALL, '/bin/false # $CMDLINE_OPTS', ('nested=1',)),
            (found.kind, found.command, found.options),
        )

    def test_install_from_where_we_do_not_look(self):
        found = self.live((0, 'install /bin/false \n', ''))
        self.assertEqual((LoadKind.INSTALL, '/bin/false'), (found.kind, found.command))

    def test_install_of_a_dependency_is_shown(self):
        files = {
            '/etc/modprobe.d/a.conf': (
                'options kvm_amd a=1\ninstall kvm /bin/false\ninstall ccp /bin/true\n'
                'install other /bin/false\ninstall kvm /bin/never\n'
            )
        }
        out = f'install /bin/true \ninstall /bin/false \ninsmod {KO} a=1 \n'
        found = self.live((0, out, ''), files)
        self.assertEqual((LoadKind.MODULE, ('a=1',)), (found.kind, found.options))
        self.assertEqual(
            [
                (LineKind.INSTALL, 'ccp', '/bin/true', None),
                (LineKind.INSTALL, 'kvm', '/bin/false', None),
                (LineKind.OPTIONS, 'kvm_amd', 'a=1', None),
            ],
            [(line.kind, line.module, line.text, line.ignored) for line in found.lines],
        )

    def test_alias_leads_elsewhere(self):
        files = {'/etc/modprobe.d/a.conf': 'alias kvm_amd off\n'}
        self.assertEqual(LoadKind.MISSING, self.live((0, '', ''), files).kind)

    def test_unread_command_line(self):
        # It may refuse the module (module_blacklist=) or set what a built-in one does.
        for row in (f'insmod {KO} \n', 'builtin kvm_amd\n'):
            self.assertEqual(UNREAD, self.live((0, row, ''), cmdline=UNREAD))

    def test_options_of_dependencies(self):
        files = {'/etc/modprobe.d/a.conf': 'options kvm halt_poll_ns=abc\noptions kvm_amd a=1\n'}
        out = (
            f'insmod {DIRECTORY}/kernel/ccp.ko \ninsmod {DIRECTORY}/kernel/other.ko x=1 \n'
            f'insmod {DIRECTORY}/kernel/kvm.ko.xz halt_poll_ns=abc \ninsmod {KO} a=1 \n'
        )
        for found in (self.live((0, out, ''), files), self.captured(files)):
            self.assertEqual({'ccp', 'kvm'}, set(found.dependencies))
            kvm = found.dependencies['kvm']
            self.assertEqual(('halt_poll_ns=abc',), kvm.options)
            self.assertEqual(
                [('/etc/modprobe.d/a.conf:1', kvm.options)],
                [(str(line.where), line.options) for line in kvm.lines],
            )

    def test_a_refused_dependency_is_shown(self):
        found = self.live((0, f'insmod {KO} \n', ''), cmdline='module_blacklist=x,kvm')
        self.assertEqual(
            [(LineKind.BLACKLIST, 'kvm', None)],
            [(line.kind, line.module, line.ignored) for line in found.lines],
        )

    def test_sysfs_that_cannot_be_read_is_not_a_missing_module(self):
        failed = (1, '', f'modprobe: FATAL: Module kvm_amd not found in directory {DIRECTORY}\n')
        root = self.node(INDEX, live=True)
        root.commands[ASK] = Completed(*failed)
        plain = root.stat

        def denied(name):
            if name.startswith('/sys/module'):
                raise PermissionError(errno.EACCES, 'Permission denied')
            return plain(name)

        root.stat = denied
        self.assertEqual('EACCES', read(root, 'kvm_amd', Kernel(R, '')).error)

    def test_stale_image_is_asked_for(self):
        image = f'/boot/initrd.img-{R}'
        root = self.node({**INDEX, '/etc/modprobe.d/a.conf': '', image: 'no archive'}, live=True)
        root.commands[ASK] = Completed(0, f'insmod {KO} \n', '')
        found = []
        for time in (1e9, 5e9):
            os.utime(root.path(image), (time, time))
            found.append(read(root, 'kvm_amd', Kernel(R, '')).initramfs)
        self.assertEqual('Malformed', found[0].error)
        self.assertIsNone(found[1])


class TestAttribution(NextLoadCase):
    def by_line(self, files, cmdline=''):
        found = self.captured(files, cmdline)
        lines = [(str(line.where).rpartition('/')[2], *line.options) for line in found.lines]
        return found.options, lines

    def test_each_line_has_its_own(self):
        options, lines = self.by_line(
            {
                '/etc/modprobe.d/a.conf': 'options kvm_amd nested=1\toption_nested=0\n',
                '/etc/modprobe.d/b.conf': 'options kvm_amd nested\n',
                '/etc/modprobe.d/zzz.conf': 'options kvm_amd "nested=0"\n',
            },
            'kvm_amd.npt="1"',
        )
        self.assertEqual(('nested=1', 'option_nested=0', 'nested', 'nested=0', 'npt=1'), options)
        self.assertEqual(
            [
                ('a.conf:1', 'nested=1', 'option_nested=0'),
                ('b.conf:1', 'nested'),
                ('zzz.conf:1', 'nested=0'),
                ('cmdline:1', 'npt=1'),
            ],
            lines,
        )

    def test_two_dashes_end_what_follows_too(self):
        options, lines = self.by_line(
            {
                '/etc/modprobe.d/a.conf': 'options kvm_amd nested=0 --\n',
                '/etc/modprobe.d/b.conf': 'options kvm_amd nested=1\n',
            }
        )
        self.assertEqual(('nested=0',), options)
        self.assertEqual([('a.conf:1', 'nested=0'), ('b.conf:1',)], lines)

    def test_a_quote_reaches_into_the_next_line(self):
        options, lines = self.by_line(
            {
                '/etc/modprobe.d/a.conf': 'options kvm_amd a="x\n',
                '/etc/modprobe.d/b.conf': 'options kvm_amd nested=0" nested=1\n',
            }
        )
        self.assertEqual(('a=x nested=0', 'nested=1'), options)
        self.assertEqual([('a.conf:1', 'a=x nested=0'), ('b.conf:1', 'nested=1')], lines)

    def test_an_ignored_line_has_what_it_would_set(self):
        _, lines = self.by_line({'/etc/modprobe.d/a.bak': 'options kvm_amd nested=0\n'})
        self.assertEqual([('a.bak:1', 'nested=0')], lines)

    def test_where_modprobe_says_otherwise_no_line_is_blamed(self):
        files = {'/etc/modprobe.d/a.conf': 'options kvm_amd nested=0\n'}
        found = self.live((0, f'insmod {KO} nested=1 \n', ''), files)
        self.assertEqual([()], [line.options for line in found.lines])

    def test_a_name_that_is_no_text_can_be_printed(self):
        root = self.node(INDEX, live=False)
        directory = root.base / 'etc/modprobe.d'
        directory.mkdir(parents=True)
        for name in (b'zz\xff.conf', b'zzz.conf'):
            (directory / os.fsdecode(name)).write_text('options kvm_amd nested=0\n')
        found = read(root, 'kvm_amd', Kernel(R, ''))
        shown = [str(line.where).encode() for line in found.lines]
        self.assertEqual('/etc/modprobe.d/zz\ufffd.conf:1'.encode(), shown[1])
        self.assertEqual(b'/etc/modprobe.d/zzz.conf:1', shown[0])


class TestSuspects(NextLoadCase):
    def reasons(self, files, index=True):
        text = ''.join(f'options {name} nested=1\n' for name in SUSPECTS)
        found = self.captured({'/etc/modprobe.d/a.conf': text, **files}, index=index)
        return {line.module: line.ignored for line in found.lines}

    def test_names_that_are_modules_are_told_apart(self):
        index = {
            f'{DIRECTORY}/modules.dep': 'kernel/kvm.ko:\nkernel/svm.ko:\n',
            f'{DIRECTORY}/modules.builtin': '',
        }
        self.assertEqual(
            {'kvm': 'module kvm has no parameter nested', 'amd': 'no module of that name'},
            self.reasons(index),
        )

    def test_sysfs_knows_too(self):
        files = {
            '/sys/module/amd/parameters/nested': 'Y\n',
            '/sys/module/svm/parameters/other': 'Y\n',
        }
        self.assertEqual(
            {
                'kvm': 'module kvm has no parameter nested',
                'svm': 'module svm has no parameter nested',
            },
            self.reasons(files, index=False),
        )


class TestCaptured(NextLoadCase):
    def test_options_and_command_line(self):
        found = self.captured(
            {'/etc/modprobe.d/a.conf': 'options kvm_amd npt=1 nested=0\r\n'},
            'kvm_amd.nested="1"',
        )
        self.assertEqual(LoadKind.MODULE, found.kind)
        self.assertEqual(('npt=1', 'nested=0', 'nested=1'), found.options)
        self.assertEqual('modprobe.d reader', found.source)

    def test_quote_without_end_takes_the_blank_kmod_appends(self):
        found = self.captured({'/etc/modprobe.d/a.conf': 'options kvm_amd a="x\n'})
        self.assertEqual(('a=x ',), found.options)

    def test_builtin(self):
        index = {
            f'{DIRECTORY}/modules.builtin': 'kernel/arch/x86/kvm/kvm-amd.ko\n',
            f'{DIRECTORY}/modules.dep': '',
        }
        files = {**index, '/etc/modprobe.d/a.conf': 'options kvm_amd nested=0\n'}
        found = self.captured(files, 'kvm_amd.nested=1')
        self.assertEqual((LoadKind.BUILTIN, ('nested=1',)), (found.kind, found.options))

    def test_index_below_usr(self):
        files = {name.replace('/lib', '/usr/lib'): '' for name in INDEX}
        self.assertEqual(LoadKind.MISSING, self.captured(files, index=False).kind)

    def test_half_an_index_calls_nothing_missing(self):
        for name in INDEX:
            self.assertEqual(LoadKind.MODULE, self.captured({name: ''}, index=False).kind)

    def test_no_index_calls_nothing_missing(self):
        self.assertEqual(LoadKind.MODULE, self.captured({}, index=False).kind)

    def test_without_an_index_what_may_be_built_in_is_not_known(self):
        files = {'/sys/module/kvm_amd/parameters/nested': '1\n'}
        self.assertEqual('NotAvailable', self.captured(files, index=False).error)
        files['/sys/module/kvm_amd/initstate'] = 'live\n'
        self.assertEqual(LoadKind.MODULE, self.captured(files, index=False).kind)

    def test_an_unreadable_index(self):
        files = {f'{DIRECTORY}/modules.dep/x': '', f'{DIRECTORY}/modules.builtin': ''}
        self.assertEqual('EISDIR', self.captured(files, index=False).error)

    def test_without_an_index_kvm_is_needed(self):
        files = {'/etc/modprobe.d/a.conf': 'options kvm ignore_msrs=1\n'}
        found = self.captured(files, index=False)
        self.assertEqual(('ignore_msrs=1',), found.dependencies['kvm'].options)

    def test_unknown_release(self):
        root = self.node(INDEX, live=False)
        found = read(root, 'kvm_amd', Kernel(UNREAD, ''))
        self.assertEqual(LoadKind.MODULE, found.kind)

    def test_install_and_the_softdep_that_switches_it_off(self):
        install = 'install kvm_amd /bin/false\ninstall kvm* /bin/true\noptions kvm_amd nested=1\n'
        found = self.captured({'/etc/modprobe.d/a.conf': install})
        self.assertEqual(
            (LoadKind.INSTALL, '/bin/false', ('nested=1',)),
            (found.kind, found.command, found.options),
        )
        for softdep, kind in (('ccp', LoadKind.MODULE), ('nosuch', LoadKind.INSTALL)):
            text = f'{install}softdep kvm_amd pre: {softdep}\n'
            self.assertEqual(kind, self.captured({'/etc/modprobe.d/a.conf': text}).kind)

    def test_alias(self):
        found = self.captured({'/etc/modprobe.d/a.conf': 'alias kvm-amd off\n'})
        self.assertEqual(LoadKind.MISSING, found.kind)

    def test_unreadable_file(self):
        root = self.node({'/etc/modprobe.d/a.conf/x': '', '/etc/modprobe.d/b.conf': ''}, live=False)
        (root.base / 'etc/modprobe.d/b.conf').unlink()
        os.mkfifo(root.base / 'etc/modprobe.d/b.conf')
        found = read(root, 'kvm_amd', Kernel(R, ''))
        self.assertEqual(('/etc/modprobe.d/b.conf', 'EINVAL'), (found.source, found.error))

    def test_unread_command_line(self):
        self.assertEqual(UNREAD, self.captured({}, UNREAD))
