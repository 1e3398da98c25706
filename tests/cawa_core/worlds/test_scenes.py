"""The world ``scenes``: pictures are a function of (seed, class, index), and labels and attributes tell the truth."""

import numpy as np
import pytest

from cawa_core.errors import InputError
from cawa_core.worlds.scenes import renderer
from cawa_core.worlds.scenes.materials import LABEL_OF_MATERIAL, Material
from cawa_core.worlds.scenes.nuisances import NAMES, Nuisances
from cawa_core.worlds.scenes.renderer import SAMPLES, _majority, render
from cawa_core.worlds.scenes.vocabulary import BUILDINGS, CLASS_NAMES, LABEL_COLOURS, LABELS, PLACES, relation

ALL = list(range(30))


@pytest.fixture(scope="module")
def scenes():
    """Eight pictures of each class."""
    return render(ALL * 8, [i // 30 for i in range(240)])


def test_classes_are_two_crossed_factors():
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 30
    assert CLASS_NAMES[0] == "house in a meadow"
    assert CLASS_NAMES[10] == "church by the sea"
    assert CLASS_NAMES[27] == "castle at night"
    assert len(LABELS) == len(LABEL_COLOURS) == 11
    assert len(LABEL_OF_MATERIAL) == len(Material)


def test_pairs_of_classes_share_building_place_or_neither():
    counts = {}
    for a in ALL:
        for b in ALL:
            kind = relation(a, b)
            assert kind == relation(b, a)
            counts[kind] = counts.get(kind, 0) + 1
    assert counts == {"same": 30, "building": 30 * 5, "place": 30 * 4, "neither": 30 * 20}
    assert relation(0, 3) == "building"
    assert relation(0, 6) == "place"
    assert relation(0, 7) == "neither"


def test_a_picture_depends_on_seed_class_and_index_alone(scenes, monkeypatch):
    """Whatever the order, the batch, and the pictures beside it."""
    monkeypatch.setattr(renderer, "AT_A_TIME", 7)
    order = np.random.default_rng(0).permutation(240)[:40]
    again = render([int(i) % 30 for i in order], [int(i) // 30 for i in order])
    assert np.array_equal(again.images, scenes.images[order])
    assert np.array_equal(again.labels, scenes.labels[order])
    assert np.array_equal(again.attributes.areas, scenes.attributes.areas[order])
    alone = render([17], [3])
    assert np.array_equal(alone.images[0], scenes.images[3 * 30 + 17])


def test_other_seeds_and_indices_are_other_pictures(scenes):
    other = render(ALL, [0] * 30, seed=1)
    assert (other.images != scenes.images[:30]).any(axis=(1, 2, 3)).all()
    assert (scenes.images[:30] != scenes.images[30:60]).any(axis=(1, 2, 3)).all()


def test_the_pictures_are_those_of_this_version():
    """A change of a pixel needs another VERSION; mean colours of three pictures to a thousandth of the range."""
    images = render([0, 15, 29], [0, 1, 2]).images
    assert renderer.VERSION == 1
    assert images.mean(axis=(1, 2)).round(1).tolist() == MEANS


MEANS = [[128.0, 168.9, 166.9], [69.1, 68.6, 103.0], [169.4, 161.3, 154.6]]


@pytest.mark.parametrize("side", [32, 64])
def test_both_sides_show_the_same_scene(side, scenes):
    same = render(ALL, [0] * 30, side=side)
    assert same.images.shape == (30, side, side, 3)
    assert same.images.dtype == same.labels.dtype == np.uint8
    assert np.abs(same.attributes.areas - scenes.attributes.areas[:30]).max() < 0.03  # thin things round differently


def test_the_label_is_the_one_with_most_points():
    points = np.zeros((1, SAMPLES, SAMPLES), dtype=np.uint8)
    wall, window, sky = (LABELS.index(name) for name in ("wall", "window", "sky"))
    points[0] = [[wall, wall, wall], [wall, window, window], [window, sky, sky]]
    assert _majority(points)[0, 0, 0] == wall
    # Four to four: the window is in front of the wall.
    points[0] = [[wall, wall, wall], [wall, window, window], [window, window, sky]]
    assert _majority(points)[0, 0, 0] == window


def test_labels_are_exact_against_a_slow_count():
    """Against the painted points of one picture, counted pixel by pixel."""
    from cawa_core.worlds.scenes.layout import lay_out
    from cawa_core.worlds.scenes.painting import paint

    u = Nuisances.draw(0, [4], [2])
    buildings, places = np.divmod(np.array([4]), len(PLACES))
    points = LABEL_OF_MATERIAL[paint(u, lay_out(u, buildings, places), buildings, places, 32 * SAMPLES)][0]
    labels = render([4], [2]).labels[0]
    for y in range(32):
        for x in range(32):
            block = points[y * SAMPLES : (y + 1) * SAMPLES, x * SAMPLES : (x + 1) * SAMPLES]
            counts = np.bincount(block.ravel(), minlength=len(LABELS))
            assert counts[labels[y, x]] == counts.max()


def test_attributes_agree_with_the_label_maps(scenes):
    attributes, labels = scenes.attributes, scenes.labels
    areas = np.stack([(labels == label).mean(axis=(1, 2)) for label in range(11)], axis=1)
    assert np.allclose(attributes.areas, areas)
    assert np.array_equal(attributes.has_sun, (labels == LABELS.index("sun")).any(axis=(1, 2)))
    assert np.array_equal(attributes.n_trees > 0, (labels == LABELS.index("tree")).any(axis=(1, 2)))
    sky = labels == LABELS.index("sky")
    for index in range(len(labels)):
        assert not sky[index, int(np.ceil(attributes.horizon[index] * 32)) + 1 :].any()
        building = np.isin(labels[index], [LABELS.index(name) for name in ("wall", "roof", "door", "window")])
        rows, columns = np.flatnonzero(building.any(axis=1)), np.flatnonzero(building.any(axis=0))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        # A thin tip has no majority in its pixel, so the upper end and the eaves may be short by some pixels.
        assert np.abs(box - attributes.building_box[index] * 32).max() < 3.2
        door = np.flatnonzero((labels[index] == LABELS.index("door")).any(axis=0))
        assert abs((door[0] + door[-1] + 1) / 2 - attributes.door_x[index] * 32) < 1


def count_of_parts(mask: np.ndarray) -> int:
    """Number of connected parts, by flooding."""
    left, parts = {tuple(point) for point in np.argwhere(mask)}, 0
    while left:
        parts += 1
        border = [left.pop()]
        while border:
            y, x = border.pop()
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.remove(near)
                    border.append(near)
    return parts


def test_every_window_can_be_seen(scenes):
    """At 64 pixels, windows are apart, so their number is that of the connected parts."""
    fine = render(ALL * 3, [i // 30 for i in range(90)], side=64)
    counted = [count_of_parts(labels == LABELS.index("window")) for labels in fine.labels]
    assert counted == fine.attributes.n_windows.tolist()
    assert np.array_equal(fine.attributes.n_windows, scenes.attributes.n_windows[:90])
    assert set(counted) >= {1, 2, 3}


def test_places_and_buildings_look_as_they_are_called(scenes):
    place = np.arange(240) % 30 % len(PLACES)
    areas, brightness = scenes.attributes.areas, scenes.attributes.brightness
    water = areas[:, LABELS.index("water")] > 0
    assert np.array_equal(water, place == PLACES.index("by the sea"))
    assert brightness[place == PLACES.index("at night")].max() < brightness[place != PLACES.index("at night")].min()
    building = np.arange(240) % 30 // len(PLACES)
    width = scenes.attributes.building_box[:, 2] - scenes.attributes.building_box[:, 0]
    assert width[building == BUILDINGS.index("tower")].max() < width[building != BUILDINGS.index("tower")].min()
    assert (areas[:, [LABELS.index(name) for name in ("wall", "roof", "door")]] > 0).all()


def test_the_draws_have_names_and_are_uniform():
    u = Nuisances.draw(0, [3] * 400, range(400))
    assert len(set(NAMES)) == len(NAMES)
    assert all(abs(u[name].mean() - 0.5) < 0.08 for name in NAMES)  # five standard errors of 400 uniform numbers
    assert set(u.whole("n_windows", 1, 3)) == {1, 2, 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_ids": [30], "indices": [0]}, "class_ids must be in 0..29; got 30"),
        ({"class_ids": [0], "indices": [0], "side": 48}, "side must be 32 or 64; got 48"),
        ({"class_ids": [0, 1], "indices": [0]}, "indices must be one per class id, 2; got 1"),
        ({"class_ids": [0], "indices": [-1]}, "seed and indices must be at least 0"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        render(**arguments)
