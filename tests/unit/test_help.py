"""What --help says is so: examples can be typed, exit codes are those there are."""

import importlib.metadata
import re
import shlex

from oslotest import base

from nested_agent.cmd import agentctl, exit_codes

OF_CLIFF = ('complete', 'help')


class HelpTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.application = agentctl.AgentCtl()

    def commands(self):
        """Yield names and parsers of our own commands."""
        for name, _ in self.application.command_manager:
            if name not in OF_CLIFF:
                factory, _, _ = self.application.command_manager.find_command(name.split())
                yield name, factory(self.application, None).get_parser(f'nested-agentctl {name}')

    def words(self, line):
        """Return an example's words, without sudo, and what it says to people behind it."""
        command = re.split(r' {2,}', line.strip().removeprefix('sudo '))[0]
        return shlex.split(command)

    def test_a_command_that_cannot_be_imported(self):
        """It is somebody else's, and stands in nobody's way until it is wanted."""
        broken = importlib.metadata.EntryPoint('broken', 'nonesuch:Broken', 'nested_agent.cli')
        self.application.command_manager.commands['broken'] = broken
        with self.assertLogs(self.application.LOG, 'ERROR') as logs:
            self.assertEqual(exit_codes.INTERNAL, self.application.run_subcommand(['broken']))
        self.assertIn("No module named 'nonesuch'", logs.output[0])

    def test_every_command_has_examples_that_can_be_typed(self):
        seen = set()
        for name, parser in self.commands():
            text = parser.format_help()
            self.assertIn('\nExamples:\n  ', text, name)
            self.assertIn('\nExit codes: 0 ', text, name)
            block = text.partition('\nExamples:\n')[2].partition('\n\n')[0]
            for line in block.splitlines():
                self.assertLess(len(line), 100, line)
                words = self.words(line)
                typed = ['nested-agentctl', *name.split()]
                self.assertEqual(typed, words[: len(typed)])
                parser.parse_args(words[len(typed) :])
                seen.add(name)
        self.assertIn('remediate', seen)

    def test_where_to_begin(self):
        text = self.application.parser.format_help()
        block = text.partition('\nwhere to begin:\n')[2].partition('\nexit codes')[0]
        names = {name.split()[0] for name, _ in self.application.command_manager}
        lines = block.splitlines()
        self.assertGreater(len(lines), 3)
        for line in lines:
            self.assertLessEqual(len(line), 80, line)
            self.assertIn(self.words(line)[1], names)

    def test_every_exit_code_is_told(self):
        text = self.application.parser.format_help()
        codes = {
            *exit_codes.OF_STATE.values(),
            *exit_codes.OF_REVERT.values(),
            *exit_codes.OF_OUTCOME.values(),
            *(value for name, value in vars(exit_codes).items() if isinstance(value, int)),
        }
        for code in codes:
            self.assertRegex(text, rf'(?m)(^|[ ,]){code} ')
