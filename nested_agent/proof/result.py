"""The result of a proof, and where it is kept: ``prove.json`` in the state directory."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from nested_agent import durable
from nested_agent.exceptions import ProofFormatError
from nested_agent.proof.finding import Finding, Outcome

NAME = 'prove.json'

#: Version of the file; the major number changes when a reader of the old form would misread it.
VERSION = '1.0'


@dataclasses.dataclass(frozen=True, slots=True)
class Proof:
    """What was found, and what it holds for: this load of this module, until it is unloaded.

    :ivar time: seconds since the epoch
    :ivar boot_id: None if unreadable
    :ivar module: None where there was none
    :ivar load: :attr:`nested_agent.facts.Module.load`; None where there was none
    """

    finding: Finding
    time: float
    boot_id: str | None
    module: str | None
    load: str | None

    @property
    def lasting(self) -> bool:
        """Whether it says something, and of a load that can be recognised."""
        tried = self.finding.outcome is not Outcome.NOT_TRIED
        return tried and None not in (self.boot_id, self.module, self.load)

    def to_dict(self) -> dict[str, Any]:
        """Return it as one plain dict."""
        plain = {**dataclasses.asdict(self.finding), **dataclasses.asdict(self)}
        del plain['finding']
        return {**plain, 'outcome': str(self.finding.outcome)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` made; further keys are ignored.

        :raises KeyError: a key is missing
        :raises TypeError: a value is of another type
        :raises ValueError: an unknown outcome
        """
        exception = data['exception']
        finding = Finding(
            Outcome(data['outcome']),
            str(data['reason']),
            str(data['message']),
            None if exception is None else int(exception),
        )
        boot_id, module, load = (
            None if data[key] is None else str(data[key]) for key in ('boot_id', 'module', 'load')
        )
        return cls(finding, float(data['time']), boot_id, module, load)


def read(state_dir: Path) -> Proof | None:
    """Return the proof that was kept last, None if there is none.

    :raises ProofFormatError: it is there but cannot be read or understood
    """
    file = state_dir / NAME
    try:
        data = json.loads(durable.content(file))
        if not isinstance(data, Mapping):
            raise TypeError(f'a mapping is expected, not {type(data).__name__}')
        if str(data['version']).split('.')[0] != VERSION.split('.')[0]:
            raise ValueError(f'version {data["version"]}, only {VERSION} is known')
        return Proof.from_dict(data)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProofFormatError(f'{file}: {error.strerror}') from error
    except KeyError as error:
        raise ProofFormatError(f'{file}: there is no {error}') from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProofFormatError(f'{file}: {error}') from error


def keep(state_dir: Path, proof: Proof) -> None:
    """Store a proof in place of the last one, making the directory if it is missing.

    :raises OSError: it could not be written; the old one is as it was
    """
    state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    data = json.dumps({'version': VERSION, **proof.to_dict()})
    durable.replace(state_dir / NAME, data.encode())
