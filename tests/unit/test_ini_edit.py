"""Options changed in the text of a file: what is written, what is kept, what is refused."""

from oslotest import base

from nested_agent.actions import ini_edit
from nested_agent.actions.ini_edit import EditRefusedError

MODE = 'libvirt.cpu_mode'
FLAGS = 'libvirt.cpu_model_extra_flags'


class EditTestCase(base.BaseTestCase):
    def edited(self, before: str, **changes: str | None) -> str:
        named = {f'libvirt.{name}': text for name, text in changes.items()}
        return ini_edit.edit(before.encode(), named, '/n.conf').decode()

    def refusal(self, before: str | bytes, **changes: str | None) -> str:
        content = before if isinstance(before, bytes) else before.encode()
        named = {f'libvirt.{name}': text for name, text in changes.items()}
        error = self.assertRaises(EditRefusedError, ini_edit.edit, content, named, '/n.conf')
        return str(error)


class SetTest(EditTestCase):
    def test_the_value_alone_is_exchanged(self) -> None:
        before = '# a\n[libvirt]\nvirt_type=kvm\ncpu_mode  :\tcustom  \n\n# b\n[x]\ncpu_mode = y\n'
        after = before.replace('custom  ', 'host-model')
        self.assertEqual(after, self.edited(before, cpu_mode='host-model'))

    def test_the_last_of_several_is_in_force(self) -> None:
        before = '[libvirt]\ncpu_mode=a\ncpu_mode=b\n[x]\n[LibVirt]\ncpu_mode=c\n[y]\n'
        after = before.replace('=c', '=none')
        self.assertEqual(after, self.edited(before, cpu_mode='none'))

    def test_indented_lines_belong_to_the_value(self) -> None:
        before = '[libvirt]\ncpu_model_extra_flags = a,\n  b,\n\tc\nvirt_type = kvm\n'
        after = '[libvirt]\ncpu_model_extra_flags = svm\nvirt_type = kvm\n'
        self.assertEqual(after, self.edited(before, cpu_model_extra_flags='svm'))

    def test_a_value_may_have_several_lines(self) -> None:
        after = '[libvirt]\r\ncpu_models = A,\r\n B\r\n'
        self.assertEqual(
            after,
            self.edited('[libvirt]\r\ncpu_models=\r\n', cpu_models='A,\nB').replace(
                'cpu_models=', 'cpu_models = '
            ),
        )

    def test_a_new_one_goes_behind_the_last_of_its_section(self) -> None:
        before = '[libvirt]\nvirt_type = kvm\n\n# about y\n[y]\na = b\n'
        after = before.replace('kvm\n', 'kvm\ncpu_mode = none\n')
        self.assertEqual(after, self.edited(before, cpu_mode='none'))

    def test_a_new_one_goes_to_the_last_section_of_that_name(self) -> None:
        before = '[libvirt]\na=b\n[x]\n[LIBVIRT]\n# c\n'
        after = '[libvirt]\na=b\n[x]\n[LIBVIRT]\ncpu_mode = none\n# c\n'
        self.assertEqual(after, self.edited(before, cpu_mode='none'))

    def test_a_new_section(self) -> None:
        for before, after in (
            ('', '[libvirt]\ncpu_mode = none\n'),
            ('# c\n', '# c\n\n[libvirt]\ncpu_mode = none\n'),
            ('[x]\na=b', '[x]\na=b\n\n[libvirt]\ncpu_mode = none\n'),
            ('[x]\r\na=b\r\n\r\n', '[x]\r\na=b\r\n\r\n[libvirt]\r\ncpu_mode = none\r\n'),
            ('[x]\ra=b\r', '[x]\ra=b\r\r[libvirt]\rcpu_mode = none\r'),
        ):
            self.assertEqual(after, self.edited(before, cpu_mode='none'))

    def test_two_new_ones_share_a_section(self) -> None:
        after = '[x]\n\n[libvirt]\ncpu_mode = none\nvirt_type = kvm\n'
        self.assertEqual(after, self.edited('[x]\n', cpu_mode='none', virt_type='kvm'))

    def test_no_final_newline(self) -> None:
        before = '[libvirt]\ncpu_mode = custom'
        self.assertEqual('[libvirt]\ncpu_mode = none', self.edited(before, cpu_mode='none'))
        self.assertEqual(f'{before}\nvirt_type = kvm\n', self.edited(before, virt_type='kvm'))
        both = self.edited(f'{before}\n a', cpu_mode='none', virt_type='kvm')
        self.assertEqual('[libvirt]\ncpu_mode = none\nvirt_type = kvm\n', both)

    def test_values_that_oslo_config_would_alter(self) -> None:
        for text, written in (
            ('"q"', '""q""'),
            (' a ', '" a "'),
            ('"', '"""'),
            ('', ''),
            ("it's", "it's"),
        ):
            after = self.edited('[libvirt]\n', images_type=text)
            self.assertEqual(f'[libvirt]\nimages_type = {written}'.rstrip(' ') + '\n', after)
        for text in ('a\rb', 'a\n\nb', 'a\n b', 'a\n', '\ud800', 'a\x00\r'):
            self.assertIn('cannot be written', self.refusal('[libvirt]\n', images_type=text))

    def test_substitution(self) -> None:
        self.assertEqual('a$$b', ini_edit.literal('a$b'))
        self.assertRaises(EditRefusedError, ini_edit.literal, 'a\\$b')


class RemoveTest(EditTestCase):
    def test_every_line_of_that_name_goes(self) -> None:
        before = (
            '[libvirt]\ncpu_model = A,\n B\nvirt_type = kvm\n[x]\ncpu_model = C\n'
            '[Libvirt]\ncpu_models = D\ncpu_model: E\n# end'
        )
        after = '[libvirt]\nvirt_type = kvm\n[x]\ncpu_model = C\n[Libvirt]\ncpu_models = D\n# end'
        self.assertEqual(after, self.edited(before, cpu_model=None))

    def test_not_there(self) -> None:
        for before in ('', '[x]\na=b', '[libvirt]\ncpu-models=A\nCPU_MODELS=B\n'):
            self.assertEqual(before, self.edited(before, cpu_models=None))

    def test_one_goes_and_one_comes(self) -> None:
        before = '[libvirt]\ncpu_models = A'
        after = '[libvirt]\ncpu_mode = none\n'
        self.assertEqual(after, self.edited(before, cpu_models=None, cpu_mode='none'))


class RefusedTest(EditTestCase):
    def test_what_oslo_config_refuses_by_line(self) -> None:
        for before, where, why in (
            ('\ufeff[libvirt]\n', ':1:', 'byte order mark'),
            (b'[x]\n# \xe9\n', ':2:', 'not UTF-8'),
            ('[libvirt]\n cpu_mode = x\n', ':2:', 'continuation'),
            ('cpu_mode = x\n', ':1:', 'Section must be started'),
            ('[libvirt] # c\n', ':1:', 'must end with ]'),
            ('[x]\na=b\nword\n', ':3:', 'assignment'),
            ('[DEFAULT]\nconfig_source = remote\n', ':2:', 'config_source'),
        ):
            message = self.refusal(before, cpu_mode='none')
            self.assertIn(f'/n.conf{where}', message)
            self.assertIn(why, message)

    def test_no_text_of_the_file_is_told(self) -> None:
        message = self.refusal('[x]\nhunter2\n', cpu_mode='none')
        self.assertNotIn('hunter2', message)


class TextsTest(base.BaseTestCase):
    def test_the_last_is_in_force(self) -> None:
        content = b'[libvirt]\ncpu_mode = a\ncpu_mode = "b"\ncpu_model_extra_flags = x,\n y\n'
        names = (MODE, FLAGS, 'libvirt.virt_type')
        self.assertEqual(
            {MODE: 'b', FLAGS: 'x,\ny', 'libvirt.virt_type': None},
            ini_edit.texts(content, names, '/n.conf'),
        )
