"""Edits in an audit: their table against the pictures."""

import numpy as np
import pytest

from cawa_core import interventions
from cawa_core.edits.suggestions import edit_suggestions
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import Intervention, Scale
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL
from tests.workflows.test_cli import run
from workflows.analyses.edits.work import candidates
from workflows.lab import Lab


@pytest.fixture(scope="module")
def lab():
    return Lab.open(classes=list(SMALL.classes))


@pytest.fixture(scope="module")
def table(audited):
    return Manifest.read(audited).table("edits")


@pytest.fixture(scope="module")
def samples(audited):
    """Unmasked pictures of the gallery by class and latent."""
    gallery = Manifest.read(audited).table("gallery")
    unmasked = gallery[gallery.kind == "sample"]
    return dict(zip(zip(unmasked.class_id, unmasked["index"], strict=True), unmasked.png, strict=True))


def test_candidates_are_the_most_aware_of_class_or_latent_code(lab):
    """Ranked by hand from the awareness of the site; in closed form the latent awareness is the robust one."""
    found = candidates(lab, 3, 6 * 4)
    for site in range(6):
        aware = lab.class_awareness((3,), site)
        assert np.isnan(aware.latent_awareness).all()
        own = {channel for at, channel in found if at == site}
        tops = (np.argsort(-values[0])[:2] for values in (aware.category_awareness, aware.latent_awareness_robust))
        assert len(own) == 4
        assert set(np.concatenate(list(tops)).tolist()) <= own


def test_edits_are_the_best_suggestions(table, samples, lab):
    own = table[table.class_id == 3]
    models, z = (lab.generator, lab.evaluator), lab.latents(3, 3)
    best = edit_suggestions(*models, z[:1], 3, candidates(lab, 3, 12))[:10]
    assert [(row.site, row.channel) for row in own.itertuples()] == [(one.site, one.channel) for one in best]
    assert set(own.n_tried) == {1}
    assert list(own.pngs.notna()) == [True] * 3 + [False] * 7
    for pngs in own.pngs.iloc[:3]:
        assert pngs[1] == samples[3, 1]  # times 1: not a bit changed
        assert pngs[3] != pngs[1]


def test_edits_are_scored_by_latents_that_did_not_choose(table, samples, lab):
    """By hand, one channel after another, from pictures of the other latents."""
    own = table[table.class_id == 3]
    z = lab.latents(3, 3)[1:]
    class_ids = class_ids_of(3, z)
    plain = lab.generator(z, class_ids)
    before = lab.evaluator.log_probabilities(plain)[:, 3].exp()
    for row in own.itertuples():
        images = interventions.run(
            lab.generator, z, class_ids, [Intervention(row.site, (row.channel,), Scale(row.factor))]
        )
        change = ((images - plain).abs().flatten(1).mean(dim=1) / 2).detach().numpy()
        kept = (lab.evaluator.log_probabilities(images)[:, 3].exp() / before).clamp(max=1).detach().numpy()
        assert row.n_samples == len(z)
        for name, values in (("change", change), ("kept", kept)):
            assert getattr(row, name) == pytest.approx(values.mean(), rel=1e-4, abs=1e-7)
            stderr = values.std(ddof=1) / np.sqrt(len(z))
            assert getattr(row, f"{name}_stderr") == pytest.approx(stderr, rel=1e-3, abs=1e-7)
        assert row.merit == pytest.approx(row.change * row.locality * row.kept, rel=1e-5)


def test_candidates_of_one_site(lab):
    found = candidates(lab, 3, 12, only=4)
    assert len(found) == 12
    assert {site for site, _ in found} == {4}
    assert {channel for site, channel in candidates(lab, 3, 12) if site == 4} <= {channel for _, channel in found}


def test_the_report_shows_them(audited):
    assert '<section id="edits">' in (audited / "report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--edit-candidates", "many"], "Invalid value for '--edit-candidates'"),
    ],
)
def test_bad_input(monkeypatch, capsys, tmp_path, flags, message):
    code, printed = run(monkeypatch, capsys, "audit", "--executor", "inline", "--output", tmp_path / "new", *flags)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err
    assert not (tmp_path / "new").exists()
