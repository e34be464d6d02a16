import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from oslotest import base

from nested_agent.facts import Location, Occurrence, Setting, Unread
from nested_agent.node import nova_config, nova_files
from nested_agent.node.root import Root
from tests.unit.fakes import FakeRoot, make_tree, write_tree

CONF = '/etc/nova/nova.conf'
PLACE = nova_files.Place('/var/lib/nova', '/home/nova')


def in_force(setting: Setting) -> Setting:
    """Return what is in force alone, without the other lines that set it."""
    return dataclasses.replace(setting, occurrences=())


class TreeTest(base.BaseTestCase):
    def tree(self, files: Mapping[str, str | bytes]) -> FakeRoot:
        directory = make_tree(files)
        self.addCleanup(directory.cleanup)
        return FakeRoot(Path(directory.name))


class OrderTest(TreeTest):
    def order(self, files: list[str], arguments: list[str]) -> list[str] | Unread:
        order = nova_files.in_order(self.tree(dict.fromkeys(files, '')), arguments, PLACE)
        return order if isinstance(order, Unread) else order.files

    def directories(self, files: list[str], arguments: list[str]) -> list[str]:
        order = nova_files.in_order(self.tree(dict.fromkeys(files, '')), arguments, PLACE)
        assert not isinstance(order, Unread)
        return order.directories

    def test_default_files_then_default_directories(self) -> None:
        self.assertEqual(
            [
                '/etc/nova/nova.conf',
                '/etc/nova-compute.conf',
                '/etc/nova/nova.conf.d/10.conf',
                '/etc/nova/nova.conf.d/9.conf',
                '/etc/nova/nova-compute.conf.d/a.conf',
            ],
            self.order(
                [
                    '/etc/nova.conf',
                    '/etc/nova/nova.conf',
                    '/etc/nova-compute.conf',
                    '/etc/nova/nova-compute.conf.d/a.conf',
                    '/etc/nova/nova.conf.d/9.conf',
                    '/etc/nova/nova.conf.d/10.conf',
                    '/etc/nova/nova.conf.d/.hidden.conf',
                    '/etc/nova/nova.conf.d/a.conf.bak',
                ],
                ['--debug'],
            ),
        )

    def test_home_comes_before_etc(self) -> None:
        files = ['/home/nova/.nova/nova.conf', '/home/nova/nova-compute.conf', CONF]
        self.assertEqual(files[:2], self.order([*files, '/etc/nova/nova-compute.conf'], []))

    def test_distribution_file_is_first(self) -> None:
        files = ['/usr/share/nova/nova-dist.conf', CONF]
        self.assertEqual(files, self.order(files, []))

    def test_config_file_leaves_default_directories_before_it(self) -> None:
        self.assertEqual(
            ['/etc/nova/nova.conf.d/a.conf', '/x.conf'],
            self.order([CONF, '/etc/nova/nova.conf.d/a.conf'], ['--config-file=/x.conf']),
        )

    def test_config_dir_leaves_default_files_before_it(self) -> None:
        self.assertEqual(
            [CONF, '/d/1.conf', '/d/2.conf'],
            self.order(
                [CONF, '/etc/nova/nova.conf.d/a.conf', '/d/2.conf', '/d/1.conf'],
                ['--config-dir', '/d'],
            ),
        )

    def test_arguments_in_their_order(self) -> None:
        self.assertEqual(
            ['/b', '/d/1.conf', '/a'],
            self.order(
                [CONF, '/d/1.conf'], ['--config-file=/b', '--config-dir=/d', '--config-file=/a']
            ),
        )

    def test_relative_and_home_paths(self) -> None:
        self.assertEqual(
            ['/var/lib/nova/n.conf', '/home/nova/x', '/etc/y', '/var/lib/nova/d/1.conf'],
            self.order(
                ['/var/lib/nova/d/1.conf'],
                [
                    '--config-file=n.conf',
                    '--config-file=~/x',
                    '--config-file=/etc/nova/../y',
                    '--config-dir=d/',
                ],
            ),
        )

    def test_relative_to_an_unknown_directory(self) -> None:
        root = self.tree({})
        for path in ('n.conf', '~/n.conf'):
            problem = nova_files.in_order(
                root, [f'--config-file={path}'], nova_files.Place(None, None)
            )
            assert isinstance(problem, Unread)
            self.assertEqual('NotAvailable', problem.error)

    def test_missing_config_dir(self) -> None:
        problem = self.order([], ['--config-dir=/missing'])
        assert isinstance(problem, Unread)
        self.assertEqual(('/missing', 'ENOENT'), (problem.source, problem.error))

    def test_config_dir_that_is_a_file_is_empty(self) -> None:
        self.assertEqual([CONF], self.order([CONF, '/d'], ['--config-dir=/d']))

    def test_directories_a_file_may_have_been_taken_out_of(self) -> None:
        both = [CONF, '/etc/nova/nova-compute.conf']
        drop_ins = ['/etc/nova/nova.conf.d/a.conf', '/etc/nova/nova-compute.conf.d/a.conf']
        named = ['--config-file=/x', '--config-dir=/d']
        self.assertEqual(['/d'], self.directories(['/d/a.conf', CONF], named))
        self.assertEqual(
            ['/etc/nova/nova.conf.d', '/etc/nova/nova-compute.conf.d'],
            self.directories([*both, *drop_ins], []),
        )
        # No nova-compute.conf, or no drop-in directory: there may have been one. /etc and a home
        # change too often to tell anything.
        self.assertIn('/etc/nova', self.directories([CONF, *drop_ins], []))
        self.assertEqual(['/etc/nova'], self.directories(both, ['--config-file=/x']))
        self.assertIn('/home/nova/.nova', self.directories(['/home/nova/.nova/x', *both], []))

    def test_home_of_a_user(self) -> None:
        passwd = 'root:x:0:0::/root:/bin/sh\nbad\nnova:x:162:162::/var/lib/nova:\nx:x:7:7::y:\n'
        root = self.tree({'/etc/passwd': passwd})
        self.assertEqual('/var/lib/nova', nova_files.home(root, 162))
        for uid in (7, 99, None):
            self.assertIsNone(nova_files.home(root, uid))


class EvaluateTest(TreeTest):
    def setUp(self) -> None:
        super().setUp()
        nova_config._Memory.last = None

    def settings(
        self, *contents: str | bytes, environment: Mapping[str, str] | None = None
    ) -> Mapping[str, Setting] | Unread:
        files = {f'/etc/{index}.conf': content for index, content in enumerate(contents)}
        return nova_config.evaluate(self.tree(files), list(files), environment or {})[1]

    def setting(
        self, name: str, *contents: str | bytes, environment: Mapping[str, str] | None = None
    ) -> Setting:
        settings = self.settings(*contents, environment=environment)
        assert not isinstance(settings, Unread), settings
        return in_force(settings[name])

    def mode(self, *contents: str | bytes) -> Setting:
        return self.setting('libvirt.cpu_mode', *contents)

    def problem(self, *contents: str | bytes) -> Unread:
        settings = self.settings(*contents)
        assert isinstance(settings, Unread), settings
        return settings

    def bad_value(self, name: str, *contents: str | bytes) -> Unread:
        value = self.setting(name, *contents).value
        assert isinstance(value, Unread), value
        return value

    def test_defaults(self) -> None:
        self.assertEqual(
            {
                'libvirt.virt_type': Setting('kvm', None),
                'libvirt.cpu_mode': Setting(None, None),
                'libvirt.cpu_models': Setting((), None),
                'libvirt.cpu_model_extra_flags': Setting((), None),
                'DEFAULT.host': Setting(None, None),
                'DEFAULT.compute_driver': Setting(None, None),
            },
            self.settings(''),
        )

    def test_no_files(self) -> None:
        self.assertIsInstance(self.settings(), dict)

    def test_values_and_lines(self) -> None:
        text = (
            '# head\n[DEFAULT]\nhost = cpu_1\ncompute_driver=libvirt.LibvirtDriver\n\n'
            '[libvirt]\ncpu_mode=custom\ncpu_models = A, B\n  ,C\n'
            'cpu_model_extra_flags: +VMX,\n\n pcid\n'.replace('\n\n pcid', '\n pcid')
            + 'virt_type: "qemu"\n'
        )
        settings = self.settings(text)
        assert not isinstance(settings, Unread)
        where = '/etc/0.conf'
        self.assertEqual(
            {
                'libvirt.virt_type': Setting('qemu', Location(where, 12)),
                'libvirt.cpu_mode': Setting('custom', Location(where, 7)),
                'libvirt.cpu_models': Setting(('A', 'B', 'C'), Location(where, 8)),
                'libvirt.cpu_model_extra_flags': Setting(('+VMX', 'pcid'), Location(where, 10)),
                'DEFAULT.host': Setting('cpu_1', Location(where, 3)),
                'DEFAULT.compute_driver': Setting('libvirt.LibvirtDriver', Location(where, 4)),
            },
            {name: in_force(setting) for name, setting in settings.items()},
        )

    def test_last_file_wins(self) -> None:
        one, two = '[libvirt]\ncpu_mode=custom\n', '[libvirt]\n\ncpu_mode=none\n'
        self.assertEqual(Setting('none', Location('/etc/1.conf', 3)), self.mode(one, two, '[x]'))
        self.assertEqual(Setting('custom', Location('/etc/1.conf', 2)), self.mode(two, one))

    def test_last_duplicate_wins(self) -> None:
        for text, line in (
            ('[libvirt]\ncpu_mode=none\ncpu_mode=custom\n', 3),
            ('[libvirt]\ncpu_mode=none\n[x]\n[libvirt]\ncpu_mode=custom\n', 5),
            ('[libvirt]\ncpu_mode=none\n[LibVirt]\ncpu_mode=custom\n', 4),
            ('[LIBVIRT]\ncpu_mode=custom', 2),
        ):
            self.assertEqual(Setting('custom', Location('/etc/0.conf', line)), self.mode(text))

    def test_default_section_has_one_spelling(self) -> None:
        self.assertEqual(Setting(None, None), self.setting('DEFAULT.host', '[default]\nhost=a\n'))

    def test_keys_are_exact(self) -> None:
        text = '[libvirt]\ncpu-mode=custom\nCPU_MODE=custom\n#cpu_mode=custom\n;cpu_mode=custom\n'
        self.assertEqual(Setting(None, None), self.mode(text))

    def test_quotes_and_line_ends(self) -> None:
        for text in (
            '[libvirt]\r\ncpu_mode = "custom"\r\n',
            "[libvirt]\ncpu_mode : 'custom'  \n",
            '[libvirt]\rcpu_mode=custom\r',
        ):
            self.assertEqual(Setting('custom', Location('/etc/0.conf', 2)), self.mode(text))

    def test_no_comment_after_a_value(self) -> None:
        problem = self.bad_value('libvirt.cpu_mode', '[libvirt]\ncpu_mode = custom # x\n')
        self.assertIn('all that follows on its line', problem.detail)

    def test_deprecated_name(self) -> None:
        text = '[libvirt]\ncpu_model=A,B\n'
        expected = Setting(('A', 'B'), Location('/etc/0.conf', 2))
        self.assertEqual(expected, self.setting('libvirt.cpu_models', text))
        # The current name wins in the same file, the later file between files.
        both = '[libvirt]\ncpu_models=C\ncpu_model=A\n'
        self.assertEqual(
            Setting(('C',), Location('/etc/0.conf', 2)), self.setting('libvirt.cpu_models', both)
        )
        self.assertEqual(
            Setting(('A', 'B'), Location('/etc/1.conf', 2)),
            self.setting('libvirt.cpu_models', both, text),
        )

    def test_every_line_that_sets_an_option(self) -> None:
        settings = self.settings(
            '[libvirt]\ncpu_model=A\ncpu_models=B,\n C\n[LibVirt]\ncpu_models=D\n',
            '[DEFAULT]\ncpu_models=X\n',
            '[libvirt]\n\ncpu_model=E\n',
            environment={'OS_LIBVIRT__CPU_MODELS': 'F'},
        )
        assert not isinstance(settings, Unread)
        self.assertEqual(
            Setting(
                ('F',),
                'OS_LIBVIRT__CPU_MODELS',
                (
                    Occurrence('libvirt.cpu_model', Location('/etc/0.conf', 2)),
                    Occurrence('libvirt.cpu_models', Location('/etc/0.conf', 3)),
                    Occurrence('libvirt.cpu_models', Location('/etc/0.conf', 6)),
                    Occurrence('libvirt.cpu_model', Location('/etc/2.conf', 3)),
                ),
            ),
            settings['libvirt.cpu_models'],
        )
        self.assertEqual((), settings['libvirt.cpu_mode'].occurrences)

    def test_deprecated_name_is_not_logged_as_ours(self) -> None:
        with self.assertNoLogs(logging.getLogger(), logging.DEBUG):
            self.settings('[libvirt]\ncpu_model=A\n')

    def test_environment_wins_over_files(self) -> None:
        environment = {'OS_LIBVIRT__CPU_MODE': 'none', 'OS_LIBVIRT__CPU_MODEL': 'ignored'}
        text = '[libvirt]\ncpu_mode=custom\n'
        for contents in ((text,), ()):
            settings = self.settings(*contents, environment=environment)
            assert not isinstance(settings, Unread)
            mode = in_force(settings['libvirt.cpu_mode'])
            self.assertEqual(Setting('none', 'OS_LIBVIRT__CPU_MODE'), mode)
            self.assertEqual(Setting((), None), settings['libvirt.cpu_models'])

    def test_environment_of_this_process_is_not_read(self) -> None:
        ours = {'OS_LIBVIRT__CPU_MODE': 'none', 'OS_DEFAULT__CONFIG_SOURCE': 'x'}
        with mock.patch.dict(os.environ, ours):
            self.assertEqual(Setting(None, None), self.mode('[libvirt]\n'))

    def test_invalid_choice(self) -> None:
        for value in ('Host-Passthrough', '', '$virt_type'):
            text = f'[libvirt]\ncpu_mode = {value}\nvirt_type=kvm\n'
            problem = self.bad_value('libvirt.cpu_mode', text)
            self.assertEqual('InvalidValue', problem.error)
            self.assertEqual('/etc/0.conf:2', problem.source)
            self.assertEqual(not value.startswith('$'), repr(value) in problem.detail)
            self.assertEqual(
                Setting('kvm', Location('/etc/0.conf', 3)), self.setting('libvirt.virt_type', text)
            )

    def test_invalid_environment(self) -> None:
        setting = self.setting(
            'libvirt.virt_type', '', environment={'OS_LIBVIRT__VIRT_TYPE': 'KVM'}
        )
        assert isinstance(setting.value, Unread)
        self.assertEqual('OS_LIBVIRT__VIRT_TYPE', setting.where)
        self.assertEqual(
            ('OS_LIBVIRT__VIRT_TYPE', 'InvalidValue'), (setting.value.source, setting.value.error)
        )

    def test_invalid_host(self) -> None:
        self.assertEqual(
            'InvalidValue', self.bad_value('DEFAULT.host', '[DEFAULT]\nhost = a b\n').error
        )

    def test_references(self) -> None:
        text = '[DEFAULT]\nhost=n1\n[libvirt]\ncpu_models=$virt_type,${libvirt.cpu_mode},$host\n'
        text += 'virt_type=qemu\ncpu_mode=custom\n'
        self.assertEqual(('qemu', 'custom', 'n1'), self.setting('libvirt.cpu_models', text).value)

    def test_references_that_cannot_be_told_here(self) -> None:
        for value in ('$my_ip', '${keystone.password}', '${DEFAULT.host}', '$host', '$config_file'):
            problem = self.bad_value('libvirt.cpu_models', f'[libvirt]\ncpu_models = {value}\n')
            self.assertEqual('Unresolved', problem.error, value)
        transitive = '[libvirt]\ncpu_models=$virt_type\nvirt_type=$my_ip\n'
        self.assertEqual('Unresolved', self.bad_value('libvirt.cpu_models', transitive).error)

    def test_references_that_have_no_end(self) -> None:
        text = '[libvirt]\ncpu_mode=$virt_type\nvirt_type=$cpu_mode\n'
        self.assertEqual('InvalidValue', self.bad_value('libvirt.cpu_mode', text).error)
        many = '[libvirt]\ncpu_models=' + '$virt_type' * 1000
        self.assertEqual('Unresolved', self.bad_value('libvirt.cpu_models', many).error)

    def test_what_keeps_nova_from_starting(self) -> None:
        for content, error, line in (
            ('cpu_mode=custom\n[libvirt]\n', 'ParseError', 1),
            ('\ufeff[libvirt]\ncpu_mode=custom\n', 'ParseError', 1),
            ('[libvirt]\n  cpu_mode=custom\n', 'ParseError', 2),
            ('# x\n [libvirt]\n', 'ParseError', 2),
            ('[libvirt] # c\n', 'ParseError', 1),
            ('[libvirt]\n[]\n', 'ParseError', 2),
            ('[libvirt]\n= x\n', 'ParseError', 2),
            ('[libvirt]\ngarbage\n', 'ParseError', 2),
            (b'[libvirt]\n# caf\xe9\n', 'EncodingError', 2),
            (b'\xff\xfe[\0', 'EncodingError', 1),
            ('[DEFAULT]\nshell_completion=fish\n', 'InvalidValue', 2),
        ):
            problem = self.problem('[libvirt]\ncpu_mode=custom\n', content)
            self.assertEqual((f'/etc/1.conf:{line}', error), (problem.source, problem.error))
            self.assertNotIn('/etc/1.conf', problem.detail)
            self.assertNotIn('memfd', problem.detail)

    def test_byte_order_mark_is_named(self) -> None:
        self.assertIn('byte order mark', self.problem('\ufeff[libvirt]\n').detail)

    def test_config_source_is_refused(self) -> None:
        text = '[DEFAULT]\nconfig_source = remote\n[remote]\ndriver=remote_file\nuri=http://x/y\n'
        with mock.patch('requests.get', side_effect=AssertionError):
            problem = self.problem(text)
        self.assertEqual('ConfigSource', problem.error)
        self.assertEqual('/etc/0.conf:2', problem.source)
        self.assertIsInstance(self.settings('[DEFAULT]\nconfig_source =\n'), dict)

    def test_options_of_oslo_config_itself(self) -> None:
        text = '[DEFAULT]\nconfig_file=/x\nconfig_dir=/y\nshell_completion=bash\n'
        self.assertIsInstance(self.settings(text, text), dict)
        self.assertEqual(
            'Unresolved', self.problem('[DEFAULT]\nconfig_dir = $transport_url\n').error
        )

    def test_secrets_stay_inside(self) -> None:
        for content in (
            '[DEFAULT]\ntransport_url = rabbit://a:hunter2@x\npassword hunter2\n',
            'password = hunter2\n',
            '[DEFAULT]\n  password = hunter2\n',
            '[hunter2\n',
            b'[DEFAULT]\npassword = hunter2\n\xff',
            '[DEFAULT]\nadmin_pass=hunter2\n[libvirt]\ncpu_mode = custom\n password = hunter2\n',
            '[DEFAULT]\nadmin_pass=hunter2\n[libvirt]\ncpu_mode = ${DEFAULT.admin_pass}\n',
            '[DEFAULT]\nadmin_pass=hunter2\n[libvirt]\ncpu_mode = $admin_pass\n',
            '[DEFAULT]\nconfig_source=hunter2\n',
            '[DEFAULT]\nshell_completion=hunter2\n',
            '[libvirt]\nrbd_secret_uuid = hunter2\ncpu_mode = $rbd_secret_uuid\n',
            '[libvirt]\ncpu_models = Nehalem\n  rbd_secret_uuid = hunter2\n',
            '[libvirt]\ncpu_models =\n  rbd_secret_uuid: hunter2\n',
            '[libvirt]\ncpu_model_extra_flags = svm,\n  password = hunter2\n',
            '[libvirt]\ncpu_model_extra_flags = svm\n  hunter2\n',
            '[libvirt]\ncpu_models = Nehalem  # hunter2\n',
            '[libvirt]\ncpu_models = a\n  connection = mysql://u:$hunter2@x\n',
            '[libvirt]\ncpu_models = a\n  connection = mysql://u:${x.hunter2}@x\n',
            '[libvirt]\ncpu_mode = custom password = hunter2\n',
            '[libvirt]\nvirt_type =\n  password = hunter2\n',
            '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n  transport_url=hunter2\n',
            '[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver ; hunter2\n',
            '[DEFAULT]\nhost = n1\n  transport_url = hunter2\n',
            '[DEFAULT]\nhost = n1\n  hunter2\n',
            '[DEFAULT]\nconfig_source = a\n  transport_url = hunter2\n',
            '[DEFAULT]\nconfig_dir = a\n  hunter2 = $x\n',
        ):
            settings = self.settings(content)
            self.assertNotIn('hunter2', repr(settings), repr(content))
            self.assertNotIn('hunter2', repr(nova_config._Memory.last), repr(content))

    def test_values_that_are_no_names(self) -> None:
        for name, value in (
            ('libvirt.cpu_models', 'a b'),
            ('libvirt.cpu_models', 'a\n  b'),
            ('libvirt.cpu_models', 'a,,b'),
            ('libvirt.cpu_models', 'a=b'),
            ('libvirt.cpu_models', 'a' * 65),
            ('libvirt.cpu_model_extra_flags', 'svm, pcid invtsc'),
            ('DEFAULT.compute_driver', 'libvirt.'),
            ('DEFAULT.compute_driver', ''),
        ):
            group, _, option = name.partition('.')
            problem = self.bad_value(name, f'[{group}]\n{option} = {value}\n')
            self.assertEqual(('/etc/0.conf:2', 'Implausible'), (problem.source, problem.error))

    def test_files_that_cannot_be_read(self) -> None:
        root = self.tree({CONF: '', '/dir/x': ''})
        os.mkfifo(root.path('/fifo'))
        for path, error in (('/missing', 'ENOENT'), ('/dir', 'EISDIR'), ('/fifo', 'EINVAL')):
            files, settings = nova_config.evaluate(root, [CONF, path], {})
            assert isinstance(settings, Unread)
            self.assertEqual((path, error), (settings.source, settings.error))
            self.assertEqual([CONF, path], [file.path for file in files])
        denied = PermissionError(13, 'Permission denied')
        with mock.patch.object(root, 'open', side_effect=denied):
            settings = nova_config.evaluate(root, [CONF], {})[1]
        assert isinstance(settings, Unread)
        self.assertEqual((CONF, 'EACCES'), (settings.source, settings.error))

    def test_null_device_is_an_empty_file(self) -> None:
        settings = nova_config.evaluate(Root('/'), ['/dev/null'], {})[1]
        assert not isinstance(settings, Unread)
        self.assertEqual('kvm', settings['libvirt.virt_type'].value)

    def test_name_that_is_not_text(self) -> None:
        root = self.tree({})
        write_tree(root.base, {'/d/\udcff.conf': 'x'})
        files, settings = nova_config.evaluate(root, ['/d/\udcff.conf'], {})
        self.assertEqual('/d/\ufffd.conf', files[0].path)
        assert isinstance(settings, Unread)
        (files[0].path + settings.detail).encode()

    def test_times_of_the_files(self) -> None:
        root = self.tree({CONF: ''})
        path = root.path(CONF)
        os.utime(path, (1.0, 4e9))
        files, _ = nova_config.evaluate(root, [CONF, '/missing'], {})
        self.assertEqual(4e9, files[0].changed)
        os.utime(path, (1.0, 1.0))
        files, _ = nova_config.evaluate(root, [CONF, '/missing'], {})
        self.assertEqual(path.stat().st_ctime_ns / 1e9, files[0].changed)
        assert isinstance(files[1].changed, Unread)

    def test_a_link_re_pointed_is_a_change(self) -> None:
        # As Kubernetes mounts a ConfigMap: the directory's name is a link that is exchanged.
        root = self.tree(
            {
                '/data/1/nova.conf': '',
                '/data/now': '-> 1',
                '/etc/nova/nova.conf': '-> ../../data/./now/nova.conf',
                '/link': '-> /etc/nova',
            }
        )
        for path, moment in (
            ('etc/nova/nova.conf', 5e9),
            ('data/now', 6e9),
            ('link', 7e9),
        ):
            os.utime(root.base / path, (1.0, moment), follow_symlinks=False)
            self.assertEqual(moment, nova_files.changed(root, '/link/nova.conf'))
        self.assertEqual(6e9, nova_files.changed(root, CONF))
        self.assertLess(nova_files.changed(root, '/data/1/nova.conf'), 5e9)
        loop = nova_files.changed(self.tree({'/a': '-> /b', '/b': '-> /a'}), '/a')
        assert isinstance(loop, Unread)
        self.assertEqual('ELOOP', loop.error)


class CacheTest(TreeTest):
    def setUp(self) -> None:
        super().setUp()
        nova_config._Memory.last = None
        settled = mock.patch.object(nova_config, 'SETTLED', -1.0)
        settled.start()
        self.addCleanup(settled.stop)
        self.root = self.tree({CONF: '[libvirt]\ncpu_mode=custom\n'})

    def mode(self, environment: Mapping[str, str] | None = None) -> object:
        settings = nova_config.evaluate(self.root, [CONF], environment or {})[1]
        assert not isinstance(settings, Unread)
        return settings['libvirt.cpu_mode'].value

    def test_unchanged_files_are_not_read(self) -> None:
        self.assertEqual('custom', self.mode())
        with mock.patch.object(self.root, 'open', side_effect=AssertionError):
            self.assertEqual('custom', self.mode())

    def test_any_change_is_seen(self) -> None:
        self.mode()
        path = self.root.path(CONF)
        before = path.stat()
        path.write_text('[libvirt]\ncpu_mode=none  \n')
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assertEqual(before.st_size, path.stat().st_size)
        self.assertEqual('none', self.mode())
        self.assertEqual('custom', self.mode({'OS_LIBVIRT__CPU_MODE': 'custom'}))
        self.assertEqual('none', self.mode())

    def test_young_files_are_not_trusted_to_stay(self) -> None:
        nova_config.SETTLED = 3600.0
        self.mode()
        self.assertIsNone(nova_config._Memory.last)
