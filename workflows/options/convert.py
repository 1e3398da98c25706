"""Options of ``cawa convert``."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from cawa_core.options import option

Eps = Annotated[float, Field(ge=0, le=0.1)]


@dataclasses.dataclass(frozen=True)
class ConvertOptions:
    """Choice of the weights to write, and settings of a BigGAN's training run that its checkpoint does not hold."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to write"

    key: str = option(
        "", "Key of the weights in the checkpoint; by default those averaged over steps (G_ema), or the only ones."
    )
    statistics: Literal["", "standing", "running"] = option(
        "",
        "For BigGAN-PyTorch checkpoints of --mybn with a counter above 0: standing, if statistics are sums over that "
        "many batches, or running, if they are running averages.",
    )
    cross_replica_gain: Literal["", "multiplied", "added"] = option(
        "",
        "For BigGAN-PyTorch checkpoints of --cross_replica: whether gains are multiplied, as on several devices, or "
        "added, as on one device and in evaluation.",
    )
    batch_norm_eps: Eps = option(0.0, "BigGAN-PyTorch: BN_eps of the training run; 0 means 1e-5, as in its scripts.")
    spectral_norm_eps: Eps = option(0.0, "BigGAN-PyTorch: SN_eps of the training run; 0 means 1e-6, as in its scripts.")

    def training_flags(self) -> dict[str, Any]:
        """Return the settings that were given, by the names of ``TrainingFlags``."""
        flags = {
            "standing_statistics": self.statistics == "standing" if self.statistics else None,
            "cross_replica_gain": self.cross_replica_gain or None,
            "batch_norm_eps": self.batch_norm_eps or None,
            "spectral_norm_eps": self.spectral_norm_eps or None,
        }
        return {name: value for name, value in flags.items() if value is not None}
