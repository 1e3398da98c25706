"""Small audits: the bundled models, two classes, few samples, in this process."""

import dataclasses

import pytest

from tests.damaged_folders import tiny_audit
from workflows.analyses import ANALYSES
from workflows.options.audit import AuditSpec, audit_spec
from workflows.options.run import RunOptions
from workflows.running.audit import AuditResult, run_audit

SMALL = audit_spec(
    classes=(1, 3, 7, 8),
    awareness_samples=200,
    masking_latents=4,
    masking_estimator="exact",
    control_latents=4,
    masking_group_size=8,
    control_repeats=2,
    metric_samples=60,
    ms_ssim_samples=10,
    overlap_k=(10,),
    segmentation_clusters=(2, 3),
    segmentation_fitted_latents=4,
    hybrid_tried_latents=2,
    hybrid_scored_latents=4,
    edit_candidates=12,
    edit_tried_latents=1,
    edit_scored_latents=2,
    latent_dimensions=(0, 1, 2),
    latent_grid=(-2.0, 0.0, 2.0),
    latent_samples=1,
    latent_observed=8,
    direction_classes=2,
    direction_search_latents=2,
    direction_steps=1,
    direction_strengths=(1.0, 2.0),
    direction_latents=1,
    direction_random_sets=1,
    translation_latents=2,
    permutations=50,
    bootstraps=50,
)
LABELLED = dataclasses.replace(SMALL, segmenter="garment-parts")
"""The same with labels, which some analyses use if there is a segmenter."""
WITH_CONCEPTS = dataclasses.replace(
    LABELLED,
    stages=(*SMALL.stages, *ANALYSES.of_concepts),
    dissection_latents=4,
    dissection_threshold_latents=20,
    effect_latents=2,
    effect_sizes=(2,),
    effect_inserted=2,
    effect_random_sets=1,
    artifact_latents=40,
    artifact_scored_latents=8,
    artifact_shares=(0.01,),
    artifact_random_sets=1,
    semantics_latents=2,
    semantics_training_latents=20,
    semantics_steps=2,
    semantics_annotated=(1,),
    semantics_repeats=1,
    semantics_transfer_latents=1,
    layout_draws=2,
    layout_steps=2,
    strokes_per_class=1,
)
"""The same with the analyses that need labels, which most audits here do without."""


TINY = dataclasses.replace(SMALL, classes=(1, 8), masking_group_size=32, metric_samples=20)
"""The quickest audit that still has every stage."""


def flags_of(spec: AuditSpec) -> list[str]:
    """Options of the command line that say what a spec says."""
    flags = []
    for field in dataclasses.fields(spec):
        name, value = field.name.replace("_", "-"), getattr(spec, field.name)
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        else:
            flags.append(f"--{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return flags


def small_audit(folder, spec: AuditSpec = SMALL, **options) -> AuditResult:
    """Audit in this process; without a report, which takes as long as everything else, unless it is asked for."""
    return run_audit(spec, RunOptions(output=str(folder), **{"executor": "inline", "report": False, **options}))


@pytest.fixture(scope="session")
def audited(made_once):
    """Folder of a finished small audit with a report; read it, do not change it."""

    def make(folder):
        assert small_audit(folder, WITH_CONCEPTS, report=True).quarantined == ()

    return made_once("small-audit", make)


@pytest.fixture(scope="session")
def undisturbed(made_once):
    """Folder of an audit as :data:`TINY` that nothing happened to; read it, do not change it."""
    return made_once("undisturbed-audit", lambda folder: small_audit(folder, TINY))


@pytest.fixture(scope="session")
def tiny_audited(made_once):
    """Folder of an audit of seconds, with few analyses; read it, do not change it."""

    def make(folder):
        code, _, errors = tiny_audit(folder)
        assert code == 0, errors

    return made_once("tiny-audit", make)


@pytest.fixture
def tiny_spec() -> AuditSpec:
    """As :data:`TINY`."""
    return TINY
