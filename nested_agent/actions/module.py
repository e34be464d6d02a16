"""The steps that load, reload and unload the vendor's module.

A reload is a transaction: it is recorded with all its parameters, unloaded, loaded as anybody's
``modprobe`` would load it (which proves that it lasts), and asked. Whatever fails after the
unload has it loaded with the parameters it had.
"""

from nested_agent.actions import kmod, kvm_device, module_record
from nested_agent.actions.file_step import recorded
from nested_agent.actions.module_record import ModuleRecord
from nested_agent.actions.module_restore import restore
from nested_agent.actions.next_load import proved
from nested_agent.actions.runtime_parameters import keep
from nested_agent.actions.site import Site
from nested_agent.actions.step import Step, Undo
from nested_agent.drivers.base import Driver, parse_nested
from nested_agent.exceptions import StepError
from nested_agent.facts import LineKind, Module, ModuleState, NextLoad, Observation, Unread
from nested_agent.model import Action
from nested_agent.verify.effect import PARAMETER
from nested_agent.verify.judgement import hindrance, offers, vendor_module


class _ModuleStep(Step):
    """What the three have in common: the record, and the way back."""

    #: Whether the step serves a revert: what it leaves is the state from before the agent.
    reverts = False

    def __init__(
        self, site: Site, actions: tuple[Action, ...], driver: Driver, wanted: bool | None = None
    ) -> None:
        super().__init__(site, actions)
        self.driver = driver
        self.wanted = wanted
        self._before: ModuleRecord | None = None
        self._notes: list[str] = []

    def record(self) -> Undo:
        """Return a :class:`ModuleRecord` as a dict, once it is certain that now is the moment."""
        self._ready()
        if self.wanted is not None:
            proved(self.site.look(), self.wanted)
        self._before = module_record.take(self.site, self.driver.module)
        return {**self._before.to_dict(), 'reverts': self.reverts}

    def _ready(self) -> None:
        """Find out that nothing uses what would go.

        :raises BusyError: something does
        """
        kmod.require_idle(self.site, self.driver.module)

    @classmethod
    def undo(cls, site: Site, record: Undo, *, rebooted: bool) -> str:
        """Have the module as it was, by what the kernel says now; a boot has loaded it anew."""
        before = ModuleRecord.from_dict(record)
        if rebooted and before.boot_id != site.boot_id:
            return f'{before.module} was left as the boot loaded it'
        return restore(site, before)

    @classmethod
    def forget(cls, site: Site, record: Undo) -> None:
        """Remember what the module was like before the agent's first change of it."""
        before = ModuleRecord.from_dict(record)
        with recorded():
            if record['reverts']:
                site.changes.drop_module()
            else:
                site.changes.keep_module(before.module, before.boot_id, before.parameters)

    def _present(self, observation: Observation) -> Module | None:
        """Return the module, None where it is not loaded.

        :raises StepError: it cannot be told, or none can be loaded or unloaded now
        """
        if isinstance(observation.modules, Unread):
            raise StepError(f'whether {self.driver.module} is loaded is not known')
        hindered = hindrance(observation)
        if hindered:
            raise StepError(hindered[1])
        return vendor_module(observation, self.driver)

    def _unloadable(self, observation: Observation, module: Module) -> None:
        name = module.name
        if module.state is ModuleState.BUILTIN:
            raise StepError(f'{name} is built in: only a kernel argument and a reboot change it')
        if module.state is not ModuleState.LIVE:
            raise StepError(f'{name} is in state "{module.state}"; try again')
        load = observation.next_load
        for line in load.lines if isinstance(load, NextLoad) else ():
            if line.kind is LineKind.REMOVE and line.ignored is None:
                raise StepError(
                    f'{line.where}: "{line.text}" is to be run instead of unloading {name}; '
                    f'remove that line, or reload {name} by hand'
                )

    def _load(self) -> None:
        """Load the module as anybody would, and wait until it can be used again."""
        kmod.load(self.site, self.driver.module)
        device = kvm_device.restore(self.site, self._before.device if self._before else None)
        self._notes += [device] if device else []

    def _verified(self) -> str:
        judged = self.site.look()
        observation, driver = judged.observation, self.driver
        module = vendor_module(observation, driver)
        if module is None or module.state is not ModuleState.LIVE:
            raise StepError(f'{driver.module} is not loaded')
        if isinstance(observation.kvm, Unread):
            raise StepError(f'{driver.module} is loaded, but KVM cannot be used: {observation.kvm}')
        text = module.parameters.get(PARAMETER)
        offered = offers(observation, driver)
        said = f'{driver.module} is loaded with {PARAMETER}={text}, KVM offers {driver.flag}: '
        said += 'yes' if offered else 'no'
        by_sysfs = parse_nested(text) if isinstance(text, str) else None
        if self.wanted is not None and not by_sysfs == offered == self.wanted:
            raise StepError(f'{said}, but {driver.option(self.wanted)} was to be applied')
        return '; '.join((said, *self._notes))


class LoadModule(_ModuleStep):
    """The module loaded, where it is not."""

    name = 'load-module'

    def precheck(self) -> None:
        """Find out that it can be loaded."""
        if self._present(self.site.look().observation) is not None:
            raise StepError(f'{self.driver.module} is loaded already')

    def _ready(self) -> None:
        if kmod.find(self.site, self.driver.module) is not None:
            raise StepError(f'{self.driver.module} was loaded by somebody else meanwhile')

    def apply(self) -> None:
        """Load it."""
        self._load()

    def verify(self) -> str:
        """Ask the kernel."""
        return self._verified()


class ReloadModule(_ModuleStep):
    """The module unloaded and loaded anew, so that it takes the options now configured.

    :param wanted: whether it shall nest then; None: whatever the files say, which is for revert.
        There it is also right that it is not loaded at all any more, or built in.
    """

    name = 'reload-module'

    def __init__(
        self, site: Site, actions: tuple[Action, ...], driver: Driver, wanted: bool | None
    ) -> None:
        super().__init__(site, actions, driver, wanted)
        self.reverts = wanted is None
        self._moot = False

    def precheck(self) -> None:
        """Find out that it can be unloaded, and that nothing uses it."""
        observation = self.site.look().observation
        module = vendor_module(observation, self.driver)
        if self.reverts and (module is None or module.state is ModuleState.BUILTIN):
            self._moot = True
            return
        module = self._present(observation)
        if module is None:
            raise StepError(f'{self.driver.module} is not loaded any more')
        self._unloadable(observation, module)
        kmod.require_idle(self.site, module.name)

    def _ready(self) -> None:
        if not self._moot:
            super()._ready()

    def apply(self) -> None:
        """Unload and load; nothing in between."""
        if self._moot or self._before is None:
            return
        kmod.unload(self.site, self.driver.module)
        self._load()
        self._notes += keep(self.site, self._before)

    def verify(self) -> str:
        """Ask the kernel, by both witnesses."""
        if self._moot:
            return f'{self.driver.module} needs no reload'
        return self._verified()


class UnloadModule(_ModuleStep):
    """The module unloaded, which is for revert: it was not loaded before the agent came."""

    name = 'unload-module'
    reverts = True

    def precheck(self) -> None:
        """Find out that it can be unloaded, if it is there at all."""
        observation = self.site.look().observation
        if vendor_module(observation, self.driver) is None:
            return
        module = self._present(observation)
        if module is not None:
            self._unloadable(observation, module)
            kmod.require_idle(self.site, module.name)

    def apply(self) -> None:
        """Unload it."""
        if kmod.find(self.site, self.driver.module) is not None:
            kmod.unload(self.site, self.driver.module)

    def verify(self) -> str:
        """Ask the kernel."""
        if kmod.find(self.site, self.driver.module) is not None:
            raise StepError(f'{self.driver.module} is loaded again')
        return f'{self.driver.module} is not loaded'
