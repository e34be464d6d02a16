"""Module options on the kernel command line, as kmod and as the kernel read them.

They differ. For a module the kernel ignores ``MODULE.PARAMETER=VALUE`` and kmod passes it on when
it loads the module; for a built-in one kmod has no say.
"""

import re
from collections.abc import Collection, Iterator

from nested_agent.facts import LineKind, Location, ModuleLine

WHERE = Location('/proc/cmdline', 1)
NO_SUCH_MODULE = 'no module of that name'
PARAMETER = 'nested'

_SPACE = r' \t\n\v\f\r'
_TOKEN = re.compile(rf'(?:"[^"]*(?:"|\Z)|[^"{_SPACE}])+')
# No dot, quote or blank in the module's or the parameter's name, or kmod skips the argument.
_FOR_MODULE = re.compile(
    rf'("?)([^.="{_SPACE}]*)\.([^.="{_SPACE}]*)(?:=(.*))?', re.ASCII | re.DOTALL
)


def split(text: str) -> tuple[str, ...]:
    """Return the options of a text (:func:`cut`)."""
    return tuple(option for _, option in cut(text))


def cut(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield options as the kernel cuts them, without quotes and none after ``--``, and where.

    lib/cmdline.c next_arg(), kernel/params.c parse_args(). A carriage return is white space
    there: ``nested=1\r`` is ``nested=1`` (so did kvm_amd of Linux 6.1).
    """
    for token in _TOKEN.finditer(text):
        body = token[0].removeprefix('"')
        name, equals, value = body.partition('=')
        if value.startswith('"'):
            value = value[1:].removesuffix('"')
        elif body != token[0]:
            value = value.removesuffix('"')
            name = name if equals else name.removesuffix('"')
        if name == '--' and not equals:
            return
        yield token.start(), name + equals + value


def names_parameter(text: str) -> bool:
    """Whether the options include ``nested``; dash and underscore are equal to the kernel."""
    return any(option.partition('=')[0] == PARAMETER for option in split(text))


def resembles(name: str, module: str) -> bool:
    """Whether a name kmod does not take for the module was probably meant to be it.

    Such as ``KVM_AMD``, ``kvm_amd.ko`` or, where a line ends in CR LF, ``kvm_amd\\r``.
    """
    match = re.match(r'\W*(\w+)', name.lower().replace('-', '_'), re.ASCII)
    return match is not None and match[1] == module


def for_kmod(cmdline: str, module: str, suspects: Collection[str]) -> Iterator[ModuleLine]:
    """Yield the arguments kmod applies to the module, and those that miss it, as ignored.

    libkmod-config.c kmod_config_parse_kcmdline(): it knows no ``--``, takes blanks only inside a
    quoted value, drops an argument whose quote does not end, and moves a quote before the name
    to the value (``"kvm_amd.nested=1"`` becomes ``nested="1"``).
    """
    for token in _TOKEN.findall(cmdline):
        match = _FOR_MODULE.fullmatch(token)
        if match is None or token.count('"') % 2:
            continue
        quote, name, parameter, value = match.groups()
        text = parameter if value is None else f'{parameter}={quote}{value}'
        if name == 'modprobe' and text.startswith('blacklist='):
            yield from _blacklist(text.partition('=')[2], token, module, None)
            continue
        plain = name.replace('-', '_')
        if plain == module:
            yield ModuleLine(LineKind.KERNEL_ARGUMENT, WHERE, name, text, None)
        elif resembles(name, module) or (plain in suspects and names_parameter(text)):
            yield ModuleLine(LineKind.KERNEL_ARGUMENT, WHERE, name, text, NO_SUCH_MODULE)


def for_kernel(cmdline: str, module: str) -> Iterator[ModuleLine]:
    """Yield the arguments the kernel itself applies to the module once it is built in."""
    for argument in split(cmdline):
        name, equals, value = argument.partition('=')
        written, _, parameter = name.partition('.')
        if parameter and written.replace('-', '_') == module:
            text = parameter + equals + value
            yield ModuleLine(LineKind.KERNEL_ARGUMENT, WHERE, written, text, None, (text,))


def refusals(cmdline: str, module: str) -> Iterator[ModuleLine]:
    """Yield ``module_blacklist=`` arguments: the kernel refuses to load what they name.

    kernel/module/main.c blacklisted(): names compared literally; the last argument counts.
    """
    found = [
        argument
        for argument in split(cmdline)
        if argument.replace('-', '_').startswith('module_blacklist=')
    ]
    for number, argument in enumerate(found, 1):
        replaced = None if number == len(found) else 'replaced by a later module_blacklist='
        yield from _blacklist(argument.partition('=')[2], argument, module, replaced)


def _blacklist(names: str, written: str, module: str, ignored: str | None) -> Iterator[ModuleLine]:
    for name in names.split(','):
        if name == module:
            yield ModuleLine(LineKind.BLACKLIST, WHERE, name, written, ignored)
        elif resembles(name, module):
            # Neither kmod nor the kernel takes a dash for an underscore here.
            yield ModuleLine(LineKind.BLACKLIST, WHERE, name, written, NO_SUCH_MODULE)
