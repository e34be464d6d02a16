"""What may come of a proof."""

import dataclasses
import enum


class Outcome(enum.StrEnum):
    """What a proof came to."""

    PROVED = 'proved'  # L2 ran
    REFUSED = 'refused'  # L1 took an exception when it switched virtualization on
    FAILED = 'failed'  # L1 could switch it on, but L2 did not run
    NOT_TRIED = 'not tried'


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What was seen.

    :ivar reason: one CamelCase word
    :ivar message: one sentence for people
    :ivar exception: vector of the exception L1 took, None if it took none
    """

    outcome: Outcome
    reason: str
    message: str
    exception: int | None = None
