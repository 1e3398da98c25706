"""The analyses of an audit, in the order of the pipeline and of the report.

An analysis is a folder beside this module, or a package that registers its declaration by the entry point group
``cawa.analyses``; see ``docs/extending.md``.
"""

from __future__ import annotations

from workflows.analyses.artifact_units import ARTIFACT_UNITS
from workflows.analyses.awareness import AWARENESS
from workflows.analyses.class_metrics import CLASS_METRICS
from workflows.analyses.class_overlap import CLASS_OVERLAP
from workflows.analyses.concept_effects import CONCEPT_EFFECTS
from workflows.analyses.directions import DIRECTIONS
from workflows.analyses.dissection import DISSECTION
from workflows.analyses.edits import EDITS
from workflows.analyses.gallery import GALLERY
from workflows.analyses.hybrids import HYBRIDS
from workflows.analyses.latents import LATENTS
from workflows.analyses.layouts import LAYOUTS
from workflows.analyses.masking import MASKING
from workflows.analyses.masking_correlation import MASKING_CORRELATION
from workflows.analyses.metric_correlation import METRIC_CORRELATION
from workflows.analyses.segmentation import SEGMENTATION
from workflows.analyses.semantics import SEMANTICS
from workflows.analyses.shared_channels import SHARED_CHANNELS
from workflows.analyses.unit_awareness import UNIT_AWARENESS
from workflows.analyses.unit_concepts import UNIT_CONCEPTS
from workflows.interface.catalogue import Catalogue

ANALYSES = Catalogue(
    (
        GALLERY,
        AWARENESS,
        MASKING,
        MASKING_CORRELATION,
        CLASS_OVERLAP,
        SHARED_CHANNELS,
        CLASS_METRICS,
        METRIC_CORRELATION,
        EDITS,
        HYBRIDS,
        SEGMENTATION,
        DISSECTION,
        UNIT_CONCEPTS,
        CONCEPT_EFFECTS,
        UNIT_AWARENESS,
        ARTIFACT_UNITS,
        SEMANTICS,
        LAYOUTS,
        LATENTS,
        DIRECTIONS,
    ),
    group="cawa.analyses",
)
