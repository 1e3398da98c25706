"""The stages of an audit; each turns a shard into rows of its tables."""

from __future__ import annotations

from workflows.stages.awareness import AWARENESS
from workflows.stages.base import Stage
from workflows.stages.class_metrics import CLASS_METRICS
from workflows.stages.edits import EDITS
from workflows.stages.gallery import GALLERY
from workflows.stages.hybrids import HYBRIDS
from workflows.stages.masking import MASKING
from workflows.stages.segmentation import SEGMENTATION

STAGES: dict[str, Stage] = {
    stage.name: stage for stage in (AWARENESS, MASKING, CLASS_METRICS, GALLERY, SEGMENTATION, HYBRIDS, EDITS)
}
