"""nova-compute on this node: the process, its files, and what they come to."""

import fnmatch
from collections.abc import Sequence
from typing import NamedTuple

from nested_agent.facts import ConfigFile, Manager, NovaCompute, NovaProcess, Unread
from nested_agent.node import nova_config, nova_files, nova_process
from nested_agent.node.root import Root, unread

NOWHERE = nova_files.Place(None, None)
NOTHING = nova_files.Order([], [])


class Layout(NamedTuple):
    """How a deployment tool lays out the configuration, for when no process tells.

    :ivar markers: any of these is there
    :ivar arguments: what nova-compute is started with; what does not exist is left out
    :ivar copied: names of the files in the marker's directory that are copied into a container
    """

    name: str
    manager: Manager
    markers: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...] = ()
    copied: str | None = None


SNAP = '/var/snap/openstack-hypervisor/common/etc/nova'
# The first that fits. Stated by: devstack lib/nova; kolla-ansible; edpm-ansible (two generations);
# the openstack-hypervisor snap; RDO's and Debian's packages.
LAYOUTS = (
    Layout(
        'devstack',
        Manager.DEVSTACK,
        ('/etc/nova/nova-cpu.conf',),
        (('--config-file', '/etc/nova/nova-cpu.conf'),),
    ),
    Layout('kolla', Manager.KOLLA, ('/etc/kolla/nova-compute',), copied='nova.conf'),
    Layout('edpm', Manager.EDPM, ('/var/lib/openstack/nova',), copied='*nova*.conf'),
    Layout('edpm', Manager.EDPM, ('/var/lib/openstack/config/nova',), copied='*nova*.conf'),
    Layout(
        'snap',
        Manager.SNAP,
        (SNAP,),
        (('--config-file', f'{SNAP}/nova.conf'), ('--config-dir', f'{SNAP}/nova.conf.d')),
    ),
    Layout('rdo', Manager.PACKAGE, (nova_files.DISTRIBUTION_FILE,)),
    Layout(
        'debian',
        Manager.PACKAGE,
        ('/etc/init.d/nova-compute', '/etc/nova/nova-compute.conf'),
        (
            ('--config-file', '/etc/nova/nova.conf'),
            ('--config-file', '/etc/nova/nova-compute.conf'),
        ),
    ),
    Layout('default', Manager.UNKNOWN, ('/',)),
)
UNITS = (
    ('devstack@', Manager.DEVSTACK),
    ('snap.', Manager.SNAP),
    ('edpm_nova_compute', Manager.EDPM),
    ('tripleo_nova_compute', Manager.TRIPLEO),
    ('kolla', Manager.KOLLA),
)
# Directories of the host that only the one deployment tool has.
TOOLS = (
    ('/var/lib/openstack/nova', Manager.EDPM),
    ('/var/lib/openstack/config/nova', Manager.EDPM),
    ('/var/lib/config-data/puppet-generated/nova_libvirt', Manager.TRIPLEO),
    ('/etc/kolla/nova-compute', Manager.KOLLA),
)
PACKAGE_UNITS = frozenset({'nova-compute.service', 'openstack-nova-compute.service'})
VENVS = '/openstack/venvs'


def read(
    root: Root, *, config_files: Sequence[str] = (), config_dirs: Sequence[str] = ()
) -> NovaCompute | Unread | None:
    """Return nova-compute as it runs, else as it would run, or None when there is none.

    A running process's own arguments say which files it reads. Without one the operator's
    ``config_files`` and ``config_dirs`` do, and without those the first of ``LAYOUTS`` that fits.
    Unread when processes cannot be looked at, or may be hidden and no configuration is found.
    """
    try:
        found = nova_process.find(root)
    except OSError as error:
        return unread('/proc', error)
    if isinstance(found, nova_process.Found):
        compute = _running(root, found)
        # What a process sees vanishes with it: that is not a configuration without files.
        if nova_process.alive(root, found.process):
            return compute
        found = None
    return _stopped(root, found, config_files, config_dirs)


def _running(root: Root, found: nova_process.Found) -> NovaCompute:
    process = found.process
    if isinstance(found.root, Unread):
        manager = _manager(root, None, process, ())
        shown = f'/proc/{process.pid}/root'
        return NovaCompute(process, 'process', manager, shown, (), found.root, found.others)
    inner = root if found.root == '/' else root.below(found.root)
    found_by = 'process'
    order: nova_files.Order | Unread
    if found.arguments is None:
        # It has overwritten its command line: assume what its kind of installation starts.
        layout, order = _layout(inner)
        found_by = layout.name
    else:
        place = nova_files.Place(found.directory, nova_files.home(inner, found.uid))
        order = nova_files.in_order(inner, found.arguments, place)
    # With mounts of its own it has other files under the same names; these are nobody's to edit.
    paths = ('/',) if isinstance(order, Unread) else ('/', *order.files, *order.directories)
    where = found.root
    if nova_files.same(root, inner, paths):
        where, inner = '/', root
    if isinstance(order, Unread):
        manager = _manager(root, inner, process, ())
        return NovaCompute(process, found_by, manager, where, (), order, found.others)
    environment = {} if isinstance(process.environment, Unread) else process.environment
    files, settings = nova_config.evaluate(inner, order.files, environment)
    manager = _manager(root, inner, process, [file.path for file in files])
    directories = _directories(inner, order)
    return NovaCompute(
        process, found_by, manager, where, files, settings, found.others, directories
    )


def _directories(root: Root, order: nova_files.Order) -> tuple[ConfigFile, ...]:
    return tuple(
        ConfigFile(nova_config.shown(path), nova_files.changed(root, path))
        for path in order.directories
    )


def _stopped(
    root: Root, process: Unread | None, config_files: Sequence[str], config_dirs: Sequence[str]
) -> NovaCompute | Unread | None:
    layout, order = _layout(root)
    found_by = layout.name
    if config_files or config_dirs:
        arguments = [f'--config-file={path}' for path in config_files]
        arguments += [f'--config-dir={path}' for path in config_dirs]
        order = nova_files.in_order(root, arguments, NOWHERE)
        found_by = 'option'
    if isinstance(order, Unread):
        return NovaCompute(process, found_by, layout.manager, '/', (), order)
    if not order.files:
        return process
    files, settings = nova_config.evaluate(root, order.files, {})
    manager = layout.manager
    if manager is Manager.UNKNOWN and root.exists(VENVS):
        manager = Manager.OPENSTACK_ANSIBLE
    directories = _directories(root, order)
    return NovaCompute(process, found_by, manager, '/', files, settings, directories=directories)


def _layout(root: Root) -> tuple[Layout, nova_files.Order | Unread]:
    """Return the first layout that is there and has files, and these; else the last one."""
    order: nova_files.Order | Unread = NOTHING
    for layout in LAYOUTS:
        there = _there(root, layout.markers)
        if isinstance(there, Unread):
            return LAYOUTS[-1], there  # it may be this one
        if there:
            order = _order(root, layout)
            if isinstance(order, Unread) or order.files:
                break
    return layout, order


def _order(root: Root, layout: Layout) -> nova_files.Order | Unread:
    if layout.copied is None:
        there = _there(root, [path for _, path in layout.arguments])
        if isinstance(there, Unread):
            return there
        given = [pair for pair in layout.arguments if pair[1] in there]
        if layout.arguments and not given:
            return NOTHING
        return nova_files.in_order(root, [word for pair in given for word in pair], NOWHERE)
    directory = layout.markers[0]
    try:
        names = fnmatch.filter(root.names(directory), layout.copied)
    except (FileNotFoundError, NotADirectoryError):
        return NOTHING
    except OSError as error:
        return unread(directory, error)
    return nova_files.Order([f'{directory}/{name}' for name in names], [directory])


def _there(root: Root, paths: Sequence[str]) -> list[str] | Unread:
    """Return those of the paths where there is something."""
    found = []
    for path in paths:
        try:
            if root.present(path):
                found.append(path)
        except OSError as error:
            return unread(path, error)
    return found


def _manager(root: Root, inner: Root | None, process: NovaProcess, files: Sequence[str]) -> Manager:
    """Return who writes the configuration of a running nova-compute, by the best evidence."""
    unit = process.unit or ''
    for start, manager in UNITS:
        if unit.startswith(start):
            return manager
    paths = (*process.argv, *files)
    if '/etc/nova/nova-cpu.conf' in files:
        return Manager.DEVSTACK
    if any(path.startswith(('/snap/', '/var/snap/')) for path in paths):
        return Manager.SNAP
    if any(path.startswith(f'{VENVS}/') for path in paths):
        return Manager.OPENSTACK_ANSIBLE
    if process.container is not None:
        for directory, manager in TOOLS:
            if root.exists(directory):
                return manager
        if inner is not None and inner.exists('/var/lib/kolla/config_files'):
            return Manager.KOLLA
        return Manager.CONTAINER
    if unit in PACKAGE_UNITS and '/usr/bin/nova-compute' in process.argv:
        return Manager.PACKAGE
    return Manager.UNKNOWN
