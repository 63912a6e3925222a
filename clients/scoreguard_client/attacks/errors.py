"""What can go wrong with an attack.

AttackError
├── AttackSpecError       a text that names no attack, or a parameter that does not fit
├── AttackInputError      images that an attack cannot start from
├── OracleMismatchError   the attack needs a gradient and the oracle has none
├── ChainMismatchError    the attack does not work through the chain of the oracle
├── CompanionMissingError the attack also needs another metric, which is missing
├── FormatMissingError    the attack writes a format that the installed Pillow does not
├── OracleAnswerError     the oracle answered with something that is not a number
└── QueryBudgetError      an attack made more queries than it declares; a bug in that attack
"""

from __future__ import annotations

from scoreguard_client._exceptions import ScoreguardError


class AttackError(ScoreguardError):
    """Base of what can go wrong with an attack."""


class AttackSpecError(AttackError):
    """A text that names no attack, or a parameter that does not fit."""

    def __init__(self, text: str, problem: str) -> None:
        self.text, self.problem = text, problem
        super().__init__(f"cannot read attack {text!r}: {problem}; write name:key=value, for example ifgsm:eps=8/255")


class AttackInputError(AttackError):
    """Images that an attack cannot start from."""


class OracleMismatchError(AttackError):
    """The attack needs a gradient and the oracle has none."""

    def __init__(self, attack: str) -> None:
        self.attack = attack
        super().__init__(f"attack {attack!r} needs gradients; give a surrogate archive or use --gradients live")


class ChainMismatchError(AttackError):
    """The attack does not work through the oracle's chain."""

    def __init__(self, attack: str, wants: str, chain: str) -> None:
        self.attack, self.wants, self.chain = attack, wants, chain
        super().__init__(f"attack {attack!r} needs {wants}, not {chain}")


class CompanionMissingError(AttackError):
    """The attack also needs another metric, which is missing."""

    def __init__(self, attack: str, metric: str) -> None:
        self.attack, self.metric = attack, metric
        super().__init__(
            f"attack {attack!r} also needs the metric {metric!r}; deploy it, or put its archive next to the surrogate "
            f"(scoreguard-export build --metrics {metric})"
        )


class FormatMissingError(AttackError):
    """The attack writes an image format that the installed Pillow cannot write."""

    def __init__(self, attack: str, file_format: str) -> None:
        self.attack, self.file_format = attack, file_format
        super().__init__(
            f"attack {attack!r} needs a Pillow that writes {file_format}, as the wheels of Pillow do "
            "(pip install --force-reinstall pillow)"
        )


class OracleAnswerError(AttackError):
    """The oracle answered with something that is not a number."""

    def __init__(self, what: str, indices: list[int]) -> None:
        self.what, self.indices = what, indices
        super().__init__(f"the oracle's {what} is not finite for image {', '.join(map(str, indices))} of the batch")


class QueryBudgetError(AttackError):
    """An attack made more queries than it declares."""

    def __init__(self, attack: str, budget: int) -> None:
        self.attack, self.budget = attack, budget
        super().__init__(
            f"attack {attack!r} asked for more than its {budget} queries per image; "
            "behind a random defence each query costs its draws"
        )
