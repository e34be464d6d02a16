"""What a plan holds, and that it does what it is for."""

import errno

import hypothesis
from hypothesis import strategies

from nested_agent.drivers.flags import parse_flag
from nested_agent.model import ActionKind
from nested_agent.node.observe import Sources
from nested_agent.policy import FixCPUMode, Nested, Policy
from nested_agent.report import make_report
from tests.unit.nodes import amd, intel, nova_process
from tests.unit.test_verify import DISABLED, DRIVERS, LATER, NodeTestCase, nova_conf

CONF = '/etc/nova/nova.conf'
COMPUTE = '/etc/nova/nova-compute.conf'
DROP_IN = '/etc/nova/nova.conf.d/1.conf'
PASSTHROUGH = '[libvirt]\ncpu_mode = host-passthrough\n'


class PlanTestCase(NodeTestCase):
    def shown(self, report):
        """Return ``kind target=after``, in order."""
        return [f'{each.kind} {each.target}={each.after}' for each in report.plan]


class OccurrencesTest(PlanTestCase):
    def files(self, conf, compute, **more):
        return nova_conf(conf, **{COMPUTE: compute, **more})

    def test_models_of_an_earlier_file_do_not_come_back(self):
        files = self.files(
            '[libvirt]\ncpu_models = Nehalem\n',
            '[libvirt]\ncpu_mode = custom\ncpu_models = EPYC\n',
        )
        report = self.report(amd(files=files))
        self.assertEqual(
            [
                f'set-nova-option {COMPUTE} libvirt.cpu_mode=host-passthrough',
                f'remove-nova-option {CONF} libvirt.cpu_models=None',
                f'remove-nova-option {COMPUTE} libvirt.cpu_models=None',
                'restart-nova-compute nova-compute.service=None',
            ],
            self.shown(report),
        )
        # What is in force is what is taken away.
        self.assertEqual([None, 'EPYC'], [each.before for each in report.plan[1:3]])

    def test_both_names_in_one_file(self):
        files = self.files(
            f'{PASSTHROUGH}cpu_model = A\ncpu_models = B\ncpu_model = C\n', '[libvirt]\n'
        )
        self.assertEqual(
            [
                f'remove-nova-option {CONF} libvirt.cpu_model=None',
                f'remove-nova-option {CONF} libvirt.cpu_models=None',
            ],
            self.shown(self.report(intel(files=files)))[:-1],
        )

    def test_a_required_flag_in_two_files(self):
        flags = '[libvirt]\ncpu_model_extra_flags = svm\n'
        report = self.report(amd(files=self.files(flags, flags)), DISABLED)
        self.assertEqual(
            [
                f'remove-nova-option {CONF} libvirt.cpu_model_extra_flags=None',
                f'remove-nova-option {COMPUTE} libvirt.cpu_model_extra_flags=None',
            ],
            self.shown(report)[:2],
        )

    def test_a_value_is_set_where_it_is_in_force(self):
        files = self.files(
            '[libvirt]\ncpu_model_extra_flags = svm, pcid\n', '[libvirt]\ncpu_mode = none\n'
        )
        report = self.report(amd(files=files), DISABLED)
        self.assertEqual(
            f'set-nova-option {CONF} libvirt.cpu_model_extra_flags=pcid', self.shown(report)[0]
        )
        files = self.files('[libvirt]\nvirt_type=kvm\n', '[libvirt]\n')
        report = self.report(amd(files=files))
        self.assertEqual(
            f'set-nova-option {COMPUTE} libvirt.cpu_mode=host-passthrough', self.shown(report)[0]
        )


class OrderTest(PlanTestCase):
    HOST_MODEL = '[libvirt]\ncpu_mode = host-model\n'

    def test_nova_waits_for_a_module_that_is_busy(self):
        node = amd(nested='0', options='nested=1', refcnt=1, files=nova_conf(self.HOST_MODEL))
        report = self.check(
            node, 'pending', plan=['reload-module'], GuestCPU='False/HostModelWithoutFlag'
        )
        self.assertFalse(report.plan[0].now)
        self.assertIn('waits for the module', self.conditions(report)['GuestCPU'].message)

    def test_nova_waits_for_a_module_that_cannot_be_asked(self):
        refused = PermissionError(errno.EACCES, 'Permission denied')
        for changes, reason in (
            ({'nested': '1', 'offered': False}, 'WitnessesDisagree'),
            ({'nested': '?', 'kvm': refused}, 'Unreadable'),
        ):
            node = amd(files=nova_conf(self.HOST_MODEL), **changes)
            report = self.report(node)
            found = self.conditions(report)
            self.assertEqual(reason, found['NestedRuntime'].reason)
            self.assertEqual('HostModelWithoutFlag', found['GuestCPU'].reason)
            self.assertEqual([], self.shown(report))

    def test_the_module_waits_for_a_flag_that_a_person_must_remove(self):
        environ = 'OS_LIBVIRT__CPU_MODEL_EXTRA_FLAGS=svm\0'
        for files in (
            nova_process(ticks=LATER, environ=environ),
            nova_conf('[libvirt]\ncpu_model_extra_flags = $my_ip\n'),
            nova_conf('[libvirt]\ncpu_model_extra_flags = "svm"x\n'),
        ):
            report = self.report(amd(files=files), DISABLED)
            self.assertLessEqual({each.kind for each in report.plan}, {ActionKind.BY_HAND})
            self.assertNotEqual('compliant', report.state)

    def test_the_module_does_not_wait_for_what_is_no_nova_with_libvirt(self):
        ironic = '[DEFAULT]\ncompute_driver = ironic.IronicDriver\n'
        gone = dict.fromkeys((*nova_process(), CONF, COMPUTE))
        for files in (nova_conf('', **{COMPUTE: ironic}), gone):
            report = self.report(amd(files=files), DISABLED)
            self.assertEqual(
                ['write-modprobe-dropin', 'reload-module'], [each.kind for each in report.plan]
            )


class ByHandTest(PlanTestCase):
    def action(self, node, policy=None):
        found = [each for each in self.report(node, policy).plan if each.kind == 'by-hand']
        self.assertEqual(1, len(found), found)
        self.assertEqual((None, None), (found[0].before, found[0].after))
        return found[0]

    def test_what_needs_a_reboot_says_so(self):
        built_in = {'builtin': True, 'nested': 'N'}
        log = {'/var/log/dmesg': "[9.1] kvm: support for 'kvm_amd' disabled by bios\n"}
        for node, policy in (
            (amd(nested=None, live=False, files=log), None),
            (intel(**built_in, cmdline='kvm_intel.nested=0'), None),
            (
                intel(**built_in, files={'/boot/grub/grub.cfg': 'linux /a kvm_intel.nested=1\n'}),
                None,
            ),
            (amd(cmdline='module_blacklist=kvm_amd'), None),
            (amd(), Policy(minimum_kernel=(6, 2))),
        ):
            self.assertEqual('reboot', self.action(node, policy).disruption)

    def test_what_needs_none_says_so(self):
        files = nova_conf(f'{PASSTHROUGH}cpu_model_extra_flags = -svm\n')
        self.assertEqual('none', self.action(amd(files=files)).disruption)

    def test_a_kernel_that_loads_no_modules_is_rebooted(self):
        files = {'/proc/sys/kernel/modules_disabled': '1\n'}
        for node in (
            amd(nested='0', options='nested=1', files=files),
            amd(nested=None, kvm=OSError(errno.ENOENT, 'gone'), files=files),
        ):
            action = self.action(node)
            self.assertEqual(('reboot', 'reboot'), (action.target, action.disruption))

    def test_the_same_is_told_once(self):
        self.assertIn(f'{CONF}:1: ', self.action(amd(files=nova_conf('[x\n'))).why)


class FlagTest(PlanTestCase):
    def test_as_nova_reads_it(self):
        for text, expected in (
            ('svm', ('svm', True)),
            ('+SVM', ('svm', True)),
            ('++svm', ('svm', True)),
            ('-svm', ('svm', False)),
            ('--Svm', ('svm', False)),
            ('+-svm', ('-svm', True)),
            ('-+svm', ('+svm', False)),
            ('', ('', True)),
        ):
            self.assertEqual(expected, parse_flag(text), text)

    def test_every_spelling_is_taken_away(self):
        for flag in ('svm', '+svm', '++SVM'):
            files = nova_conf(f'[libvirt]\ncpu_model_extra_flags = {flag},pcid,-svm\n')
            report = self.report(amd(files=files), DISABLED)
            self.assertEqual('pcid,-svm', report.plan[0].after)


def edit(root, action):
    """Do what an action on an option says, as plainly as can be."""
    path, _, name = action.target.rpartition(' ')
    option = name.partition('.')[2]
    file = root.path(path)
    lines = _logical(file.read_text())
    found = [number for number, line in enumerate(lines) if line.split('=')[0].strip() == option]
    if action.kind is ActionKind.REMOVE_NOVA_OPTION:
        lines = [line for number, line in enumerate(lines) if number not in found]
    elif found:
        lines[found[-1]] = f'{option} = {action.after}'
    else:
        lines += ['[libvirt]', f'{option} = {action.after}']
    file.write_text('\n'.join([*lines, '']))


def _logical(text):
    """Return lines together with those that continue them."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(' ') and lines:
            lines[-1] += f'\n{line}'
        else:
            lines.append(line)
    return lines


LINES = strategies.lists(
    strategies.sampled_from(
        [
            *('[libvirt]', '[LibVirt]', 'virt_type = kvm', 'virt_type = qemu', 'virt_type=lxc'),
            *('cpu_mode = custom', 'cpu_mode=host-model', 'cpu_mode = host-passthrough'),
            *('cpu_mode = none', 'cpu_models = Nehalem', 'cpu_models =', 'cpu_models = A,\n B'),
            *('cpu_model = EPYC', 'cpu_model=A,B', 'cpu_model =', 'cpu_model_extra_flags ='),
            *('cpu_model_extra_flags = svm', 'cpu_model_extra_flags = pcid,\n +VMX'),
            *('cpu_model_extra_flags = pcid', 'cpu_model_extra_flags = SVM, vmx, pcid'),
            *('cpu_model_extra_flags=-svm', 'cpu_models = $virt_type'),
        ]
    ),
    max_size=6,
).map(lambda lines: '\n'.join(['[libvirt]', *lines, '']))
POLICIES = strategies.builds(
    Policy,
    strategies.sampled_from(Nested),
    strategies.sampled_from(
        ['any-exposing', 'any-exposing', 'host-model', 'host-passthrough', 'custom']
    ),
    strategies.sampled_from(FixCPUMode),
)


class ProofTest(PlanTestCase):
    """A plan carried out word for word makes nova's settings what the policy wants."""

    def setUp(self):
        super().setUp()
        self.mended = 0
        # On, or off and reloaded by the same plan.
        process = {**nova_process(ticks=LATER), DROP_IN: ''}
        self.roots = [
            make(nested=nested, files=process).root(self)
            for make, nested in ((amd, '1'), (amd, '0'), (intel, 'Y'), (intel, 'N'))
        ]

    def test_plans_do_what_they_are_for(self):
        self.prove()
        self.assertGreater(self.mended, 50)

    @hypothesis.settings(max_examples=200, deadline=None)
    @hypothesis.given(strategies.integers(0, 3), LINES, LINES, LINES, POLICIES)
    def prove(self, number, drop_in, conf, compute, policy):
        root = self.roots[number]
        for path, text in ((DROP_IN, drop_in), (CONF, conf), (COMPUTE, compute)):
            root.path(path).write_text(text)
        before = make_report(root, DRIVERS, Sources(), policy)
        edits = self.edits(before)
        self.assertEqual(len(edits), len({each.target for each in edits}))
        for action in edits:
            edit(root, action)
        after = make_report(root, DRIVERS, Sources(), policy)
        self.assertEqual([], self.edits(after))
        by_hand = {each.target for each in before.plan if each.kind is ActionKind.BY_HAND}
        for type_ in ('GuestCPU', 'VirtType'):
            was, now = (self.conditions(report)[type_] for report in (before, after))
            if was.status == 'True':
                self.assertEqual('True', now.status, now.message)
            elif edits and type_ not in by_hand:
                self.assertEqual('True', now.status, now.message)
                self.mended += 1
            elif was.status == 'False' and type_ not in by_hand:
                # It waits for the other of the two, which is a person's.
                self.assertTrue(by_hand & {'GuestCPU', 'VirtType'})

    def edits(self, report):
        kinds = (ActionKind.SET_NOVA_OPTION, ActionKind.REMOVE_NOVA_OPTION)
        return [each for each in report.plan if each.kind in kinds]
