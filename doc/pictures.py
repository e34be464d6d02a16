"""The pictures of terminals in the documentation: what a node really printed, drawn as SVG.

``record`` boots an emulated AMD compute node (root, the packages of ``tox -e node``), has it drift
as the tests do, and keeps what the commands print there, to the byte, in ``_static/*.console``.
``draw`` makes an SVG of each; it needs rich, and no network: then or when the picture is shown.
Colours are added when drawing; words are not.
"""

import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
STATIC = Path(__file__).parent / 'source' / '_static'
COLUMNS = 104
PROMPT = 'root@compute-1:~# '

#: What is typed, by the name of the picture, in this order on one node.
SCENES: dict[str, Sequence[str]] = {
    'check': (f'nested-agentctl check --max-width {COLUMNS}',),
    'remediate': (
        f'nested-agentctl remediate --max-width {COLUMNS}',
        'nested-agentctl check -f value -c state',
        'nested-agentctl prove -f value -c outcome -c message',
    ),
    'revert': (f'nested-agentctl revert --yes --max-width {COLUMNS}',),
}
#: A restart of nova-compute is watched for half a minute, and the node is an emulated one.
SECONDS = 600.0

STYLES = {
    r'^root@\S+# .*$': 'bold',
    r'\b(COMPLIANT|APPLIED|applied|compliant|proved|True)\b': 'green',
    r'\b(DRIFTED|False|drifted)\b': 'bold yellow',
    r'\b(BLOCKED|FAILED|failed|blocked)\b': 'bold red',
    r'^\+[-+]+\+$|\|': 'bright_black',
}
# As rich's own, without the fonts that it has the reader's browser fetch.
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def record() -> None:
    """Run the scenes on a node and keep what it prints."""
    sys.path.insert(0, str(CHECKOUT))
    from tests.node import drifted
    from tests.node.bed.bed import Bed
    from tests.node.bed.store import Store, default_root

    with ExitStack() as stack:
        node = Bed(CHECKOUT, Store(default_root())).node(stack)
        node.run(['hostname', 'compute-1'])
        drifted.drift(node)
        for name, commands in SCENES.items():
            text = ''
            for command in commands:
                done = node.run(f'{command} 2>&1', timeout=SECONDS, check=False)
                text += f'{PROMPT}{command}\n{done.stdout}'
            (STATIC / f'{name}.console').write_text(text)


def draw() -> None:
    """Make an SVG of every record."""
    from rich.console import Console
    from rich.text import Text

    for path in sorted(STATIC.glob('*.console')):
        with Path('/dev/null').open('w') as nowhere:
            console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
            for line in path.read_text().splitlines():
                text = Text(line)
                for pattern, style in STYLES.items():
                    text.highlight_regex(re.compile(pattern), style)
                # Where a terminal breaks a line, in a word or not.
                for part in text.divide(range(COLUMNS, len(line), COLUMNS)):
                    console.print(part, soft_wrap=True)
        svg = console.export_svg(title='', code_format=SVG, unique_id=path.stem)
        path.with_suffix('.svg').write_text(svg)


if __name__ == '__main__':
    for word in sys.argv[1:] or ['draw']:
        {'record': record, 'draw': draw}[word]()
