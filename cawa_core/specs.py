"""The description of what to compute, and the hashes that name its results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from cawa_core.arithmetic import Precision
from cawa_core.audit_record import RecordedIdentity
from cawa_core.digests import digest_of_data
from cawa_core.errors import InputError, suggestion

NEEDS = {
    "awareness": (),
    "masking": ("evaluator",),
    "class_metrics": ("evaluator", "real_images"),
    "gallery": ("evaluator",),
    "segmentation": (),
    "hybrids": ("evaluator",),
    "edits": ("evaluator",),
}
"""Stage => options that must name something, besides the generator."""
USES = {"hybrids": ("real_images",)}
"""Stage => options that it uses if they name something, and can do without."""
SHOWS = {"class_metrics": ("fid_features", "manifold_features"), "hybrids": ("manifold_features",)}
"""Stage => networks besides the evaluator that it shows real images to, if real images are given."""
STAGES = tuple(NEEDS)
SUBJECT = ("generator", "truncation", "truncation_statistics", "dtype", "compile", "seed")
"""Options that say, with the digest of the weights, what a folder is about: they never change in it."""
ROLES = ("evaluator", "fid_features", "manifold_features", "real_images")
"""Options that name networks and real images: each is fixed in a folder once an analysis has used it."""
COVERAGE = ("classes", "stages")
"""Options that say which results a folder holds: it grows by them."""
REPORT = ("overlap_k", "shared_k", "permutations", "bootstraps")
"""Options of the derived tables and the report, which are computed again whenever something changes."""
OPTIONS: dict[str, tuple[str, ...]] = {
    "awareness": ("awareness_estimators", "awareness_samples", "monte_carlo_classes"),
    "masking": (
        "masking_latents",
        "masking_estimator",
        "exact_latents",
        "target_stderr",
        "top",
        "control_latents",
        "masking_group_size",
        "control_fraction",
        "control_repeats",
    ),
    "class_metrics": ("metric_samples", "ms_ssim_samples", "neighbours"),
    "gallery": ("control_fraction",),
    "segmentation": ("segment_sites", "segment_clusters", "segment_latents"),
    "hybrids": ("hybrid_partners", "hybrid_tried_latents", "hybrid_latents", "neighbours"),
    "edits": ("edit_candidates", "edit_tried_latents", "edit_latents"),
}
"""Stage => the options that change its results."""
ESTIMATORS = ("closed_form", "monte_carlo")

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]


def option(default: Any, description: str) -> Any:  # noqa: ANN401
    """A field of a spec with the help text that the command line shows."""
    return dataclasses.field(default=default, metadata={"help": description})


@dataclasses.dataclass(frozen=True)
class AuditSpec:
    """Everything that changes a number of an audit, and nothing else.

    Field names are the option names of the command line and the keys of ``audit.toml``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    generator: str = option(
        "fashion-biggan", "Generator to audit: one of `cawa models`, or your own as package.module:factory."
    )
    truncation: Fraction = option(1.0, "Truncation of the latents in (0, 1]; 1 means none, as in the paper.")
    truncation_statistics: Literal["interpolated", "package"] = option(
        "interpolated",
        "How BigGAN-deep's batch norm statistics are found between two recorded truncations: interpolated, or package, "
        "as pytorch-pretrained-biggan does it.",
    )
    dtype: Precision = option(
        "float32",
        "Arithmetic of the networks: float32; tf32 (CUDA only), which rounds the factors of products to ten bits; "
        "bfloat16 or float16 by autocast. Use float32 for numbers that you publish.",
    )
    compile: bool = option(False, "Compile the networks with torch.compile: a slow start, then faster on some devices.")
    evaluator: str = option(
        "fashion-cnn", "Classifier that scores images: one of `cawa models`, or your own as package.module:factory."
    )
    fid_features: str = option("", "Network whose features FID and KID compare; the evaluator if left out.")
    manifold_features: str = option(
        "", "Network whose features precision, recall, density and coverage compare; the evaluator if left out."
    )
    real_images: str = option(
        "fashion-mnist-test",
        "Real images that generated ones are compared with: one of `cawa models`, or a folder with one folder per "
        "class.",
    )
    classes: tuple[int | str, ...] = option(
        (), "Classes to audit, by index, name or WordNet id, separated by commas; all if left out."
    )
    stages: tuple[str, ...] = option(STAGES, f"Stages to run: {', '.join(STAGES)}.")
    seed: Annotated[int, Field(ge=0)] = option(0, "Seed of all latents, random masks and permutations.")
    awareness_estimators: tuple[str, ...] = option(ESTIMATORS, f"Estimators of awareness: {', '.join(ESTIMATORS)}.")
    awareness_samples: Annotated[int, Field(ge=2)] = option(10_000, "Latents per class for Monte Carlo awareness.")
    monte_carlo_classes: Annotated[int, Field(ge=0)] = option(
        0,
        "How many of the classes of this run, evenly spread, Monte Carlo samples besides the closed form; 0 means all.",
    )
    masking_latents: Annotated[int, Field(ge=2)] = option(
        512,
        "Latents per class for masking (1000 in the paper). exact masks all of them; the other estimators screen "
        "them, or mask them in bfloat16.",
    )
    masking_estimator: Literal["exact", "regression", "two_precisions", "screening"] = option(
        "regression",
        "How masking effects are measured. exact: mask every latent. regression: correct a gradient over all latents "
        "by exact masks of a few. two_precisions: correct bfloat16 masks of all latents by float32 masks of a few. "
        "screening: the gradient alone.",
    )
    exact_latents: Annotated[int, Field(ge=8)] = option(
        16,
        "Latents that regression and two_precisions mask exactly; with --target-stderr, how many each mask starts "
        "with.",
    )
    target_stderr: Annotated[float, Field(ge=0)] = option(
        0.0,
        "Add latents, mask by mask, until the standard error of score_change is at most this; 0 gives all masks the "
        "same latents.",
    )
    top: Annotated[int, Field(ge=0)] = option(
        0, "Mask only this many channel groups per class, those that screening ranks highest; 0 masks all."
    )
    control_latents: Annotated[int, Field(ge=2)] = option(16, "Latents per class for the control masks.")
    masking_group_size: Count = option(1, "Channels per mask: neighbours in the order of awareness.")
    control_fraction: Fraction = option(0.1, "Share of a site's channels that a control mask hides.")
    control_repeats: Count = option(8, "Random control masks per class and site.")
    metric_samples: Annotated[int, Field(ge=20)] = option(1000, "Generated images per class for the class metrics.")
    ms_ssim_samples: Annotated[int, Field(ge=2)] = option(
        100, "Generated images per class whose pairs are compared by MS-SSIM."
    )
    neighbours: Count = option(3, "k of the nearest neighbours in precision, recall, density and coverage.")
    overlap_k: tuple[Count, ...] = option((10, 60), "Sizes of the top channel sets whose overlap is measured.")
    shared_k: tuple[Count, ...] = option(
        (1, 2, 5, 10, 20, 50), "Sizes of the top channel sets that all classes may share."
    )
    segment_sites: tuple[int, ...] = option(
        (), "Sites whose channels are clustered; the last half of the sites if left out."
    )
    segment_clusters: tuple[int, ...] = option((3, 5), "Numbers of clusters; each is fitted separately.")
    segment_latents: Count = option(64, "Pictures per class that clusters are fitted to and scored on.")
    hybrid_partners: Count = option(
        1, "Other classes of the generator, drawn at random, that each class is mixed with."
    )
    hybrid_tried_latents: Annotated[int, Field(ge=2)] = option(32, "Latents that choose the sites and k of a hybrid.")
    hybrid_latents: Annotated[int, Field(ge=2)] = option(200, "Held-out latents that score the chosen hybrids.")
    edit_candidates: Count = option(
        256, "Channels per class that are tried as edits: those of highest awareness at each site."
    )
    edit_tried_latents: Count = option(4, "Latents that choose the best edits.")
    edit_latents: Annotated[int, Field(ge=2)] = option(16, "Held-out latents that score the chosen edits.")
    permutations: Annotated[int, Field(ge=20)] = option(
        1000, "Random permutations behind each null distribution and p-value."
    )
    bootstraps: Annotated[int, Field(ge=20)] = option(2000, "Bootstrap resamples behind each confidence interval.")

    def as_data(self) -> dict[str, Any]:
        """Plain JSON-able data, one entry a field."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]


@dataclasses.dataclass(frozen=True)
class AuditIdentity:
    """A spec with its names made exact: what the results of an audit belong to.

    Attributes:
        spec: the options, with ``classes`` as indices.
        digests: SHA-256 of the weights or data of each model or set, by its role in the spec.
        protocols: preprocessing and feature layer of each network that looks at images, by its role.
        class_digests: SHA-256 of the real images of each class that is read; none without real images.
        schema_version: version of the tables.
        samples_order: whether channels are ordered by sampled awareness, since some site has no closed form.
    """

    spec: AuditSpec
    digests: Mapping[str, str]
    protocols: Mapping[str, str]
    class_digests: Mapping[int, str]
    schema_version: int
    samples_order: bool = False

    @property
    def subject(self) -> dict[str, Any]:
        """The subject of a folder, as plain data."""
        options = {name: getattr(self.spec, name) for name in SUBJECT}
        return {"schema_version": self.schema_version, "digest": self.digests["generator"], **options}

    @cached_property
    def hash(self) -> str:
        """The name of the audit: SHA-256 of its subject."""
        return digest_of_data(self.subject)

    @cached_property
    def roles(self) -> dict[str, dict[str, str]]:
        """Name, digest and protocol of each network and set in use, by its role.

        The digest of real images is that of their form: their classes have digests of their own.
        """
        names = {role: str(getattr(self.spec, role) or self.spec.evaluator) for role in ROLES if role in self.digests}
        roles = {
            role: {"name": name, "digest": self.digests[role], "protocol": self.protocols.get(role, "")}
            for role, name in names.items()
        }
        if "real_images" in roles:
            roles["real_images"]["digest"] = ""
        return roles

    def roles_of(self, stage: str) -> tuple[str, ...]:
        """Roles that a stage uses, of those that are filled."""
        networks = SHOWS.get(stage, ()) if "real_images" in self.roles else ()
        used = (*NEEDS[stage], *USES.get(stage, ()), *networks)
        return tuple(role for role in ROLES if role in used and role in self.roles)

    def options_of(self, stage: str) -> dict[str, Any]:
        """Options that change the results of a stage: plain data."""
        names = OPTIONS[stage]
        if self.samples_order and "awareness_samples" not in names:
            names = (*names, "awareness_samples")
        return {name: self.spec.as_data()[name] for name in names}

    def analysis_hash(self, stage: str) -> str:
        """The name of a stage's results: SHA-256 of all that changes them, whatever else is in the folder."""
        return self._analysis_hashes[stage]

    @cached_property
    def _analysis_hashes(self) -> dict[str, str]:
        return {
            stage: digest_of_data(
                {
                    "subject": self.subject,
                    "stage": stage,
                    "roles": {role: self.roles[role] for role in self.roles_of(stage)},
                    "options": self.options_of(stage),
                }
            )
            for stage in STAGES
        }

    def as_data(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return dataclasses.asdict(self.as_recorded())

    def as_recorded(self) -> RecordedIdentity:
        """Return the form that ``audit.json`` keeps."""
        class_digests = {class_id: self.class_digests[class_id] for class_id in sorted(self.class_digests)}
        return RecordedIdentity(
            self.spec.as_data(), dict(self.digests), dict(self.protocols), self.schema_version, class_digests
        )


def digest_of_classes(class_digests: Mapping[int, str], class_ids: Iterable[int]) -> str:
    """SHA-256 of the real images of some classes, from that of each that was read."""
    read = sorted(set(class_ids) & class_digests.keys())
    return digest_of_data({str(class_id): class_digests[class_id] for class_id in read})


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def validated(kind: type, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Build a spec dataclass from plain data.

    Raises:
        InputError: an unknown key, a wrong type or a value out of range; one line for the first fault.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(values))
    except ValidationError as error:
        raise InputError(_first_fault(kind, error)) from None
    except TypeError as error:
        raise InputError(f"spec holds a value that is no number, text or list: {error}") from None


def _first_fault(kind: type, error: ValidationError) -> str:
    fault = error.errors()[0]
    key, fields = str(fault["loc"][0]), [field.name for field in dataclasses.fields(kind)]
    if key not in fields:
        return f"unknown option {key!r}{suggestion(key, fields)}; allowed: {', '.join(fields)}"
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}; got {fault['input']!r}"


def require_members(argument: str, given: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Check that a tuple option is not empty, holds allowed words only, and none twice.

    Raises:
        InputError: otherwise.
    """
    for word in given:
        if word not in allowed:
            raise InputError(f"{argument} must be among {', '.join(allowed)}; got {word!r}{suggestion(word, allowed)}")
    if not given or len(set(given)) < len(given):
        raise InputError(
            f"{argument} must name each of {', '.join(allowed)} at most once and at least one; got {given}"
        )
