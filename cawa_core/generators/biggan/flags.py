"""Settings of a BigGAN's training run that its checkpoint does not record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from torch import Tensor

from cawa_core.errors import InputError
from cawa_core.options import validated

if TYPE_CHECKING:
    from cawa_core.generators.biggan.architecture import BigGANArchitecture
    from cawa_core.generators.biggan.deep_checkpoint import DeepArchitecture

LAUNCHED_EPS = {"batch_norm_eps": 1e-5, "spectral_norm_eps": 1e-6}
"""ε in the repository's scripts that train BigGANs."""

CONVERTED_EPS = {"batch_norm_eps": 1e-4, "spectral_norm_eps": 1e-4}
"""ε in the repository's converter of the published TensorFlow Hub weights."""

GAINS = ("multiplied", "added")

OUTPUT_EPS = 1e-5
"""ε of the last batch norm; the repository applies ``--BN_eps`` only to the sites."""

METADATA = "cawa.training_flags"
"""Key of the settings, as JSON, among the metadata of a ``.safetensors`` file."""

CONVERT = "by cawa convert FILE NEW.safetensors {}, and audit NEW.safetensors"


@dataclasses.dataclass(frozen=True)
class TrainingFlags:
    """Settings of a training run that its checkpoint does not record; None means to infer them from the file.

    Attributes:
        batch_norm_eps: ε added to the variances of the sites; 1e-5, or 1e-4 for weights converted from
            TensorFlow Hub.
        spectral_norm_eps: smallest norm that the power iteration divides by; 1e-6, or 1e-4 for converted weights.
        standing_statistics: for ``mybn`` with a counter above 0, whether the statistics are sums over that many
            batches (True) or running averages (False).
        cross_replica_gain: for cross-replica batch norms, whether gains are ``multiplied``, as in training on
            several devices, or ``added``, as the repository's code does on one device and in evaluation.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    batch_norm_eps: Annotated[float, Field(gt=0, le=0.1)] | None = None
    spectral_norm_eps: Annotated[float, Field(gt=0, le=0.1)] | None = None
    standing_statistics: bool | None = None
    cross_replica_gain: Literal["multiplied", "added"] | None = None

    def given(self) -> dict[str, float | bool | str]:
        """Return the settings that are not None."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> TrainingFlags:
        """Read the settings that ``cawa convert`` wrote beside the tensors; none if there are none.

        Raises:
            InputError: they are damaged.
        """
        try:
            values = json.loads(metadata.get(METADATA, "{}"))
            if not isinstance(values, dict):
                raise ValueError("they must map names to values")
            flags: TrainingFlags = validated(cls, values)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{source}: its {METADATA} are damaged: {error}; convert the weights again") from None
        return flags


@dataclasses.dataclass(frozen=True)
class SettledFlags:
    """Settings of a training run with all values known.

    Attributes:
        batch_norm_eps, spectral_norm_eps: see :class:`TrainingFlags`.
        statistics_are_sums: whether statistics must be divided by the counter.
        gains_are_added: whether gains are added instead of multiplied.
        converted: whether the weights come from TensorFlow Hub.
    """

    batch_norm_eps: float
    spectral_norm_eps: float
    statistics_are_sums: bool
    gains_are_added: bool
    converted: bool

    def describe(self) -> str:
        """Describe the settings that change images in one line."""
        parts = [f"batch norm ε {self.batch_norm_eps:g}"]
        if self.statistics_are_sums:
            parts.append("standing statistics")
        if self.gains_are_added:
            parts.append("gains added, not multiplied")
        if self.converted:
            parts.append("converted from TensorFlow Hub (no singular values were logged)")
        return ", ".join(parts)


def settle(
    flags: TrainingFlags,
    architecture: BigGANArchitecture | DeepArchitecture,
    tensors: Mapping[str, Tensor],
    source: str,
) -> SettledFlags:
    """Infer the settings that are None from the file.

    Raises:
        InputError: a setting that changes the images is None, and the file does not tell it.
    """
    converted = architecture.n_singular_values > 0 and never_trained(tensors)
    eps = (CONVERTED_EPS if converted else LAUNCHED_EPS) | flags.given()
    return SettledFlags(
        batch_norm_eps=float(eps["batch_norm_eps"]),
        spectral_norm_eps=float(eps["spectral_norm_eps"]),
        statistics_are_sums=_statistics_are_sums(flags.standing_statistics, tensors, source),
        gains_are_added=_gains_are_added(flags.cross_replica_gain, architecture, source),
        converted=converted,
    )


def never_trained(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the tensors show no training step; each step of the repository's code logs values in ``sv0``.

    The repository's converter writes no ``sv0``, and a converted model that was saved again has the initial value 1.
    """
    return all(bool((values == 1).all()) for name, values in tensors.items() if name.endswith(".sv0"))


def _statistics_are_sums(flag: bool | None, tensors: Mapping[str, Tensor], source: str) -> bool:
    counters = [float(value.max()) for name, value in tensors.items() if name.endswith(".accumulation_counter")]
    if flag and (not counters or min(counters) <= 0):
        raise InputError(
            f"{source}: standing_statistics must be False or None, because no 'accumulation_counter' is above 0"
        )
    if flag is None and max(counters, default=0) > 0:
        raise InputError(
            f"{source}: 'accumulation_counter' is {max(counters):g}, and the file does not tell whether its statistics "
            f"are sums over that many batches or running averages; say which "
            f"{CONVERT.format('--statistics standing or running')}"
        )
    return bool(flag)


def _gains_are_added(flag: str | None, architecture: BigGANArchitecture | DeepArchitecture, source: str) -> bool:
    if flag is not None and flag not in GAINS:
        raise InputError(f"cross_replica_gain must be one of {', '.join(GAINS)}; got {flag!r}")
    if architecture.batch_norm != "cross-replica":
        return False
    if flag is None:
        raise InputError(
            f"{source}: cross-replica batch norms multiply by their gains when trained on several devices and add them "
            f"on one and in evaluation, and the file does not tell which applies; say which "
            f"{CONVERT.format('--cross-replica-gain multiplied or added')}"
        )
    return flag == "added"
