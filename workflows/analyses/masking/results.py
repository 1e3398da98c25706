"""Control masks: the lowest, random and highest channels masked (Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

from cawa_core.rendering.claims import Claim
from cawa_core.rendering.sections import class_names
from cawa_core.statistics.verdicts import SMALLEST_GAIN, joint_verdict
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.masking import MASKING_CONTROLS_TABLE, MaskingOptions
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples, typical_value, typical_verdict, typical_words

CONTROL_EFFECTS = ["score_change", "score_change_abs"]


class MaskingResults(Results[MaskingOptions]):
    """Control masks; what single masks do is correlated with their predictors by a derived analysis."""

    def summary(self, findings: Findings) -> Content:
        """Summarise the control masks."""
        controls = findings.manifest.table(MASKING_CONTROLS_TABLE.name)
        return {"masking_controls": masking_controls(controls, findings.resamples)}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether more aware channels matter more."""
        controls = summary.get("masking_controls")
        return control_claims(controls, class_names(summary)) if controls else []


def masking_controls(controls: pd.DataFrame, resamples: ClassResamples) -> dict[str, Any] | None:
    """Summarise Fig. 3: lowest, random and highest masks of one size, by site and (site -1) at all sites at once."""
    if not len(controls):
        return None
    by_class = controls.groupby(["site", "control", "class_id"], as_index=False)[CONTROL_EFFECTS].mean()
    rows = []
    for (site, control), part in by_class[by_class.control != "no_op"].groupby(["site", "control"]):
        row = {"site": int(cast(int, site)), "control": control, "n_classes": len(part)}
        rows.append(row | resamples.means(part[CONTROL_EFFECTS]))
    everywhere = by_class[by_class.site == ALL_SITES]
    wide = everywhere.pivot(index="class_id", columns="control", values=CONTROL_EFFECTS)
    return {
        "rows": rows,
        "highest_minus_random": _difference(wide, "highest", "random", resamples),
        "random_minus_lowest": _difference(wide, "random", "lowest", resamples),
        "no_op_largest_change": float(controls[controls.control == "no_op"].score_change_abs.max()),
    }


def _difference(everywhere: pd.DataFrame, high: str, low: str, resamples: ClassResamples) -> dict[str, Any] | None:
    if everywhere.empty:
        return None
    difference = (everywhere["score_change"][high] - everywhere["score_change"][low]).to_frame("mean")
    means = resamples.means(difference)
    typical = typical_value(difference["mean"])
    return {"mean": means["mean"], "ci": means["mean_ci"], "n_classes": len(difference), "typical": typical}


def control_claims(controls: Mapping[str, Any], names: Mapping[int, str]) -> list[Claim]:
    """Decide whether masks of more aware channels typically hurt a class more, at all sites at once."""
    over_random = controls["highest_minus_random"]
    over_lowest = controls["random_minus_lowest"]
    if over_random is None:
        return []
    differences = [difference["typical"] for difference in (over_random, over_lowest)]
    verdict = joint_verdict([typical_verdict(difference, 1, SMALLEST_GAIN) for difference in differences])
    means = {row["control"]: row["score_change"] for row in controls["rows"] if row["site"] == ALL_SITES}
    evidence = (
        "The same share of channels is masked at every site. On average, the class's score "
        f"{_effect_in_words(means['lowest'])} if these are the least aware channels, "
        f"{_effect_in_words(means['random'])} if they are random, and {_effect_in_words(means['highest'])} if they "
        f"are the most aware. Difference in the drop over classes, most aware minus random: "
        f"{typical_words(differences[0], names)}; random minus least aware: {typical_words(differences[1], names)}."
    )
    claim = (
        "Masking the most aware channels hurts a class more than masking random channels, and masking random channels "
        "hurts it more than masking the least aware ones."
    )
    return [Claim(claim, verdict, evidence, "Fig. 3")]


def _effect_in_words(score_change: float) -> str:
    """Say by how much masking lowers or raises the score; a positive ``score_change`` is a drop."""
    size = f"{abs(score_change):.2f}"
    if float(size) == 0:
        return "does not change"
    return f"{'falls' if score_change > 0 else 'rises'} by {size}"
