"""What ``--help`` of the commands says below the options: examples first, then exit codes."""

import argparse

#: Of every command, where there is no answer.
NO_ANSWER = (
    'Without an answer: 64 usage or configuration error, 69 nobody to ask, 70 internal error, '
    '74 not now, 75 try again later, 77 not permitted; "nested-agentctl --help" tells more.'
)
OF_STATE = (
    'Exit codes: 0 compliant, 1 drifted or pending, 2 blocked, 3 unsupported, 4 unknown or stale. '
    f'{NO_ANSWER}'
)
OF_REVERT = (
    'Exit codes: 0 all is as it was, 1 some of it waits until KVM is idle, 2 something could not '
    f'be undone and the table says what. {NO_ANSWER}'
)
OF_PROOF = (
    'Exit codes: 0 proved, 1 refused, 2 failed, 4 not tried. Without an answer: 64 usage or '
    'configuration error, 70 internal error.'
)
OF_DONE = f'Exit codes: 0 done. {NO_ANSWER}'


class HelpFormatter(argparse.HelpFormatter):
    """Leaves paragraphs alone that are laid out by hand: those with an indented line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return '\n\n'.join(
            paragraph
            if '\n ' in f'\n{paragraph}'
            else super(HelpFormatter, self)._fill_text(paragraph, width, indent)
            for paragraph in _plain(text).split('\n\n')
        )


def epilog(examples: str, exit_codes: str) -> str:
    """Return what stands below the options; reStructuredText, for the documentation as well.

    :param examples: command lines, with what each is for
    """
    lines = '\n'.join(f'  {line}' for line in examples.strip().splitlines())
    return f'Examples::\n\n{lines}\n\n{exit_codes}'


def _plain(text: str) -> str:
    """Return reStructuredText as people read it in a terminal."""
    return text.replace('::\n\n', ':\n').replace('``', '"')
