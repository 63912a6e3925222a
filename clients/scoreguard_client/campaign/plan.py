"""The plan of a campaign: everything that decides its records, as a value with a digest.

A run directory belongs to one plan. The plan contains the digest of the deployed archive but not the server's address,
because a resumed campaign may reach the same artifacts another way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from scoreguard.chain.devices import CPU
from scoreguard.support.digests import sha256_of
from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.oracles.seeds import derive_seed
from scoreguard_client.target.images import ImageRef
from scoreguard_client.target.units import Unit

_SHOWN: Final = 90
_KEYS: Final = {"chains": "defences"}
"""Keys of the stored plan that differ from the field's name: the digests of earlier runs depend on them, and
`--defences` sets them."""
_AS_BEFORE: Final = {"computation": CPU, "distance": ""}
"""What the fields are for plans of versions that did not have them."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a campaign does."""

    metric: str
    """The deployed metric."""
    archive_sha256: str
    """Digest of the deployed archive, hexadecimal."""
    attacks: tuple[str, ...]
    """Attacks in their text form, every parameter named."""
    chains: tuple[str, ...]
    """Chains in their text form, every parameter named; `none` = undefended."""
    adaptive: bool
    """Whether every attack also works through each chain, as an adaptive attack."""
    gradients: str
    """Source of gradients: `live`, `local:` and the digest of the surrogate, or `unused`."""
    companions: tuple[str, ...]
    """Sources of the other metrics that attacks need: name, `live` or `local`, digest."""
    images: tuple[ImageRef, ...]
    """The images, by name."""
    seed: int
    """Seed for all randomness."""
    draws: int
    """Scores taken of each image behind a random defence, with fresh seeds."""
    crafting_draws: int
    """Draws per query while an attack works through a random defence (expectation over transformation); 0 = as many as
    the spread of each image's gradient requires (see `oracles.draws`), and one for score-based attacks."""
    batch: int
    """Maximum number of images attacked at once."""
    computation: str = CPU
    """Device and settings of local gradients, see `oracles.computing`: their last bits depend on it."""
    distance: str = ""
    """Perceptual distance that is measured, with the digest of its weights; empty = none."""

    def canonical_json(self) -> str:
        """Serialise the plan; equal plans give equal text.

        A field that earlier versions did not know is left out where it says what they did.
        """
        data = {_key(name): value for name, value in asdict(self).items()}
        for name in [name for name, value in _AS_BEFORE.items() if data[name] == value]:
            del data[name]
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return sha256_of(self.canonical_json().encode())

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read what `canonical_json` wrote."""
        stored: dict[str, Any] = {**_AS_BEFORE, **json.loads(text)}
        data = {field.name: stored[_key(field.name)] for field in fields(Plan)}
        data["images"] = tuple(ImageRef(**image) for image in data["images"])
        data |= {name: tuple(data[name]) for name in ("attacks", "chains", "companions")}
        return Plan(**data)

    def differences(self, other: Plan) -> list[str]:
        """List how another plan differs, field by field, ready to print."""
        pairs = ((field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(Plan))
        return [_difference(_key(name), mine, theirs) for name, mine, theirs in pairs if mine != theirs]

    def units(self) -> Iterator[Unit]:
        """Yield every unit of crafting, in execution order."""
        attacks = [parse_attack(text) for text in self.attacks]
        for images in self._groups():
            for attack in attacks:
                for chain in self._attacked_through(attack):
                    yield Unit(attack=attack, attacked_through=chain, images=images)

    def scored_behind(self, unit: Unit) -> tuple[str, ...]:
        """Return the chains that a unit's images are scored behind: all, or only an adaptive attack's chain."""
        return self.chains if unit.attacked_through == UNDEFENDED else (unit.attacked_through,)

    def seed_for(self, *parts: object) -> int:
        """Derive a seed from the plan's seed and its purpose."""
        return derive_seed(self.seed, *parts)

    def _attacked_through(self, attack: Attack) -> list[str]:
        # What asks nothing would do the same to an image through every chain.
        adapts = self.adaptive and attack.needs.asks
        chains = [UNDEFENDED, *(chain for chain in self.chains if adapts and chain != UNDEFENDED)]
        return [chain for chain in chains if attack.fits(parse_chain(chain))]

    def _groups(self) -> Iterator[tuple[ImageRef, ...]]:
        sizes: dict[tuple[int, int], list[ImageRef]] = {}
        for image in self.images:
            sizes.setdefault((image.height, image.width), []).append(image)
        for images in sizes.values():
            for start in range(0, len(images), self.batch):
                yield tuple(images[start : start + self.batch])


def _key(field: str) -> str:
    return _KEYS.get(field, field)


def _difference(name: str, mine: object, theirs: object) -> str:
    if isinstance(mine, tuple) and isinstance(theirs, tuple) and name != "images" and set(mine) != set(theirs):
        # For long lists only what the other lacks is informative.
        shared = set(mine) & set(theirs)
        mine, theirs = (tuple(value for value in values if value not in shared) for values in (mine, theirs))
    return f"{name}: {_short(mine)} there, {_short(theirs)} here"


def _short(value: object) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], ImageRef):
        return f"{len(value)} images"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") or "nothing"
