"""Every table of an audit: its columns, types, units and meanings, with the key first.

Fractions are ``float32`` unless the column says otherwise. Null means unknown or undefined, never zero.
"""

from __future__ import annotations

import dataclasses

import pyarrow as pa

I16, I32, I64 = pa.int16(), pa.int32(), pa.int64()
F32, F64, TEXT = pa.float32(), pa.float64(), pa.string()
CHANNELS = pa.list_(pa.int32())

ALL_SITES = -1
"""In a ``site`` column: all sites together."""


@dataclasses.dataclass(frozen=True)
class Table:
    """One table of an audit folder.

    Attributes:
        name: name of the table and of its folder under ``tables/``.
        stage: what writes it: a stage, ``plan`` or ``aggregate``.
        key: columns that identify a row.
        columns: name => (type, meaning).
    """

    name: str
    stage: str
    key: tuple[str, ...]
    columns: dict[str, tuple[pa.DataType, str]]

    @property
    def schema(self) -> pa.Schema:
        """The pyarrow schema, with each column's meaning as field metadata."""
        fields = [pa.field(name, kind, metadata={"meaning": text}) for name, (kind, text) in self.columns.items()]
        return pa.schema(fields)


CLASS = {"class_id": (I32, "index of the class")}
SITE = {"site": (I16, "index of the CCBN + ReLU site in forward order")}
CRITERION = {
    "criterion": (
        TEXT,
        "ranking of the channels: category_highest, category_lowest, latent_highest (sampled latent_awareness, or "
        "the robust one if nothing was sampled), expected_activation_highest or masking_highest (score_change_abs)",
    )
}


def _with_stderr(name: str, meaning: str) -> dict[str, tuple[pa.DataType, str]]:
    return {name: (F32, meaning), f"{name}_stderr": (F32, f"standard error of {name} over latents")}


EFFECT = {
    **_with_stderr("score_change", "mean over latents of p(class | unmasked) - p(class | masked); > 0: masking hurts"),
    **_with_stderr("score_change_abs", "mean over latents of the absolute change in probability"),
    **_with_stderr("log_score_change", "mean over latents of ln p(class | unmasked) - ln p(class | masked)"),
    **_with_stderr("log_score_change_abs", "mean over latents of the absolute change in natural log-probability"),
}

EVALUATOR = "evaluator, preprocessing and arithmetic; compare only rows with the same protocol"

METRICS = {
    "precision": (F32, "share of generated images inside the manifold of the real images, in [0, 1]"),
    "recall": (F32, "share of real images inside the manifold of the generated images, in [0, 1]"),
    "density": (F32, "mean number of real images' balls that contain a generated image, divided by k; >= 0"),
    "coverage": (F32, "share of real images whose ball contains a generated image, in [0, 1]"),
    "fid": (F32, "Fréchet distance between the features; >= 0, biased upwards for few samples"),
    "kid": (F32, "unbiased squared maximum mean discrepancy, cubic kernel, on at most 10,000 samples per side"),
    "ms_ssim": (F32, "mean multi-scale structural similarity over pairs of generated images; high: little diversity"),
    "classifier_accuracy": (F32, "share of generated images that the evaluator assigns to their class, in [0, 1]"),
}
COUNTS = {
    "n_real": (I32, "number of real images used"),
    "n_fake": (I32, "number of generated images used"),
    "ms_ssim_clamped": (I32, "number of negative terms of MS-SSIM that were set to zero, over all pairs and scales"),
    "protocol": (TEXT, "evaluator, feature layer, k, kernel and MS-SSIM scales"),
}

TABLES = {
    table.name: table
    for table in (
        Table(
            "sites",
            "plan",
            ("site",),
            {
                **SITE,
                "name": (TEXT, "name of the module in the network"),
                "channels": (I32, "number of channels"),
                "resolution": (I32, "side of the feature map in pixels"),
                "inert_channels": (CHANNELS, "channels that cannot reach the image"),
            },
        ),
        Table(
            "awareness",
            "awareness",
            ("estimator", "class_id", "site", "channel"),
            {
                **CLASS,
                **SITE,
                "channel": (I32, "index of the channel at its site"),
                "category_awareness": (F32, "A = E_z[offset / gain] (sec. 3.2); in closed form a principal value"),
                "category_awareness_stderr": (F32, "standard error of A; null in closed form, which is not sampled"),
                "latent_awareness": (F32, "L = Var_z(offset / gain), unbiased; null in closed form (infinite)"),
                "latent_awareness_robust": (F32, "((q75 - q25) / 1.349)² of offset / gain"),
                "gain_sign_probability": (F32, "P(gain <= 0); unless it is tiny, sampled A and L have heavy tails"),
                "activation_probability": (F32, "E_z[P(output > 0)] for a standard normal input, in [0, 1]"),
                "expected_activation": (F32, "E_z E_x[ReLU(gain x + offset)] for a standard normal input x"),
                "inert": (pa.bool_(), "whether the channel cannot reach the image and is left out of rankings"),
                "estimator": (TEXT, "closed_form or monte_carlo"),
                "n_samples": (I32, "number of latents behind the row; 0 in closed form"),
            },
        ),
        Table(
            "masking",
            "masking",
            ("class_id", "site", "group"),
            {
                **CLASS,
                **SITE,
                "group": (I32, "position of the group in ascending order of category awareness"),
                "channels": (CHANNELS, "channels set to zero together after the ReLU"),
                **EFFECT,
                "screened_score_change": (F32, "score_change by screening: a gradient, first order in log-odds"),
                "screened_score_change_abs": (F32, "score_change_abs by screening"),
                "method": (
                    TEXT,
                    "exact, screening, or regression (masks correct an estimate on more latents; also two_precisions)",
                ),
                "n_samples": (I32, "number of latents masked, in either precision; 0 for screening alone"),
                "n_screened": (I32, "number of latents behind screening and the estimate that regression corrects"),
                "protocol": (TEXT, EVALUATOR),
            },
        ),
        Table(
            "masking_controls",
            "masking",
            ("class_id", "site", "control", "repeat"),
            {
                **CLASS,
                "site": (I16, "index of the site; -1: at every site at once"),
                "control": (TEXT, "channels masked: no_op (none), or lowest, random or highest category awareness"),
                "repeat": (I32, "index of the random draw"),
                "n_channels": (I32, "number of channels masked"),
                **EFFECT,
                "n_samples": (I32, "number of latents behind the row"),
                "protocol": (TEXT, EVALUATOR),
            },
        ),
        Table(
            "class_metrics",
            "class_metrics",
            ("class_id",),
            {
                **CLASS,
                "class_name": (TEXT, "name of the class"),
                "total_awareness": (
                    F64,
                    "sum of |E_z[offset / gain]| over all sites and channels that reach the image, in closed form, or "
                    "sampled at sites that are not affine (sec. 5.4)",
                ),
                **METRICS,
                **COUNTS,
                "unreadable": (pa.list_(TEXT), "real image files that are incomplete or unreadable, and were left out"),
            },
        ),
        Table(
            "class_metric_floor",
            "class_metrics",
            ("class_id", "comparison"),
            {
                **CLASS,
                "comparison": (
                    TEXT,
                    "real_real: one half of the real images against the other; fake_real: as many generated ones",
                ),
                **METRICS,
                **COUNTS,
            },
        ),
        Table(
            "class_centroids",
            "class_metrics",
            ("class_id",),
            {
                **CLASS,
                "real_centroid": (pa.list_(F32), "mean feature vector of the real images"),
                "fake_centroid": (pa.list_(F32), "mean feature vector of the generated images"),
            },
        ),
        Table(
            "gallery",
            "gallery",
            ("class_id", "kind", "index"),
            {
                **CLASS,
                "kind": (
                    TEXT,
                    "sample (unmasked), or which control_fraction is masked at all sites: lowest, random, highest",
                ),
                "index": (I32, "index of the latent"),
                "score": (F32, "the evaluator's probability of the class"),
                "png": (pa.binary(), "the image"),
            },
        ),
        Table(
            "segmentation",
            "segmentation",
            ("class_id", "clusters", "weighted", "index"),
            {
                **CLASS,
                "clusters": (I32, "number of clusters K for the pixels of all images of the class"),
                "weighted": (pa.bool_(), "whether channels were multiplied by their category awareness"),
                "index": (I32, "index of the latent"),
                "iou": (F32, "intersection over union of the foreground with Otsu's; null unless objects are on black"),
                "n_background": (I32, "number of labels, starting at 0, that belong to the background"),
                "sites": (pa.list_(I16), "sites whose channels were clustered"),
                "n_fitted": (I32, "number of images that the clusters were fitted to"),
                "png": (pa.binary(), "the image, once for each of the first few latents; else null"),
                "labels_png": (
                    pa.binary(),
                    "labels as palette indices, in order from the cluster that lies most at the border, so that labels "
                    "below n_background are background; the palette gives parts that share most pixels the same "
                    "colour in all maps of a class, whatever their labels; null beyond the first few latents",
                ),
            },
        ),
        Table(
            "hybrids",
            "hybrids",
            ("class_id", "reference_id", "kind"),
            {
                **CLASS,
                "reference_id": (I32, "index of the class that the class is mixed with"),
                "kind": (
                    TEXT,
                    "input, reference (images of either class), style_mixing or channel_mixing (the best of each)",
                ),
                "first_site": (I16, "first site with transplants, or the first conditioned on the reference class"),
                "sites": (pa.list_(I16), "sites with transplants"),
                "k": (I32, "channels transplanted per site: those most aware of the reference class"),
                **_with_stderr("input_probability", "the evaluator's probability of the class"),
                **_with_stderr("reference_probability", "the evaluator's probability of the other class"),
                **_with_stderr("balance", "4 p q of both probabilities: 1 if the evaluator gives each class one half"),
                **_with_stderr("realism", "closeness to real images of either class; null without real images"),
                **_with_stderr("harmony", "balance times realism, or balance alone without real images"),
                "n_tried": (I32, "number of latents on which the mixture was chosen"),
                "n_samples": (I32, "number of held-out latents behind the scores"),
                "pngs": (pa.list_(pa.binary()), "images of the first latents"),
                "protocol": (TEXT, EVALUATOR),
            },
        ),
        Table(
            "edits",
            "edits",
            ("class_id", "rank"),
            {
                **CLASS,
                "rank": (I32, "0: the best edit of the class on the latents that chose it"),
                **SITE,
                "channel": (I32, "index of the channel that is multiplied"),
                "factor": (F32, "factor that the channel is multiplied by"),
                **_with_stderr("change", "mean absolute change of a pixel, as a share of the range black to white"),
                **_with_stderr(
                    "locality", "1 - (Σ|d|)² / (P Σd²) over the P pixels' changes d: near 1 if few pixels change"
                ),
                **_with_stderr("kept", "class retention: min(1, p_after / p_before) for the probability of the class"),
                **_with_stderr("merit", "change times locality times kept, by which edits are ranked on other latents"),
                "n_candidates": (I32, "number of channels tried"),
                "n_tried": (I32, "number of latents on which the edit was chosen"),
                "n_samples": (I32, "number of held-out latents behind the scores"),
                "pngs": (
                    pa.list_(pa.binary()),
                    "the first held-out latent with the channel times 0, 1, 2, 3; null except for the first few ranks",
                ),
                "protocol": (TEXT, EVALUATOR),
            },
        ),
        Table(
            "masking_correlation",
            "aggregate",
            ("class_id", "site", "predictor", "target"),
            {
                **CLASS,
                **SITE,
                "predictor": (
                    TEXT,
                    "category_awareness (in closed form if there is one), category_awareness_sampled, "
                    "activation_probability, expected_activation or screening",
                ),
                "target": (TEXT, "predicted column of masking"),
                "n_groups": (I32, "number of groups behind the correlation"),
                "pearson_smoothed": (F32, "Pearson r, change smoothed in predictor order (Savitzky-Golay, sec. 4.1)"),
                "pearson": (F32, "Pearson r without smoothing"),
                "spearman": (F32, "rank correlation without smoothing"),
                "null_mean": (F32, "mean of pearson_smoothed over random permutations of the change"),
                "null_std": (F32, "standard deviation of pearson_smoothed over these permutations"),
                "p_value": (F32, "two-sided p-value: share of permutations at least as far from zero"),
            },
        ),
        Table(
            "class_overlap",
            "aggregate",
            ("site", "k", "criterion", "class_a", "class_b"),
            {
                "site": (I16, "index of the site; -1: the channels of all sites together"),
                "k": (I32, "size of the top sets"),
                **CRITERION,
                "class_a": (I32, "first class"),
                "class_b": (I32, "second class, after the first"),
                "overlap": (F32, "|S_a ∩ S_b| / k"),
                "overlap_by_chance": (F32, "overlap expected by chance: k / channels"),
            },
        ),
        Table(
            "shared_channels",
            "aggregate",
            ("site", "k", "criterion"),
            {
                **SITE,
                "k": (I32, "size of the top sets"),
                **CRITERION,
                "shared": (I32, "number of channels in the top set of every class (Table 1)"),
                "shared_by_chance": (F32, "number expected for independent random sets"),
                "n_classes": (I32, "number of classes intersected"),
            },
        ),
        Table(
            "top_channel_popularity",
            "aggregate",
            ("site", "channel", "criterion"),
            {
                **SITE,
                "channel": (I32, "index of the channel at its site"),
                **CRITERION,
                "n_classes": (I32, "number of classes that rank this channel first"),
            },
        ),
        Table(
            "metric_correlation",
            "aggregate",
            ("metric",),
            {
                "metric": (TEXT, "column of class_metrics that total awareness is correlated with"),
                "pearson": (F32, "Pearson r over classes (Fig. 10)"),
                "spearman": (F32, "rank correlation over classes"),
                "ci_low": (F32, "lower end of the bootstrap 95% interval of pearson"),
                "ci_high": (F32, "upper end of that interval"),
                "n_classes": (I32, "number of classes with both values"),
            },
        ),
    )
}


def as_markdown() -> str:
    """Return the content of ``docs/tables.md``: all tables as Markdown."""
    parts = [
        "# Tables\n\nThe tables of an audit folder, each with its key columns first. Null means unknown or undefined, "
        "never zero. In the examples `folder` is the audit folder and `pd` is pandas.\n"
    ]
    for table in TABLES.values():
        parts.append(f"\n## {table.name}\n\nWritten by: {table.stage}. Key: {', '.join(table.key)}.\n\n")
        parts.append(f'`pd.read_parquet(f"{{folder}}/tables/{table.name}")`, ')
        parts.append(f"`duckdb.sql(f\"from '{{folder}}/tables/{table.name}/*.parquet'\")`\n\n")
        parts.append("| column | type | meaning |\n|---|---|---|\n")
        parts += [
            f"| {name} | {kind} | {meaning.replace('|', chr(92) + '|')} |\n"
            for name, (kind, meaning) in table.columns.items()
        ]
    return "".join(parts)
