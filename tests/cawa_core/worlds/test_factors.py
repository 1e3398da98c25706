"""Known factors of the classes of worlds."""

import subprocess
import sys

from cawa_core.worlds.factors import known_factors
from cawa_core.worlds.scenes.vocabulary import BUILDINGS, CLASS_NAMES, PLACES, building_of, place_of


def test_the_factors_of_scenes_are_the_words_of_its_class_names():
    factors = known_factors("scenes")
    assert list(factors) == ["building", "place"]
    for class_id, name in enumerate(CLASS_NAMES):
        assert factors["building"][class_id] == BUILDINGS[building_of(class_id)]
        assert factors["place"][class_id] == PLACES[place_of(class_id)]
        assert name == f"{factors['building'][class_id]} {factors['place'][class_id]}"


def test_other_real_images_have_no_known_factors():
    assert known_factors("fashion-mnist-test") is None
    assert known_factors("") is None


def test_factors_are_read_without_pytorch():
    code = "import sys; import cawa_core.worlds.factors; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
