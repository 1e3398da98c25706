"""Files of directions: what is written is read, and damage or another generator is refused in one line."""

import dataclasses
import json

import pytest
import torch

from cawa_core.directions.direction import Direction
from cawa_core.directions.files import DirectionFile, read_direction
from cawa_core.errors import InputError
from tests.planted_dimensions import PlantedGenerator

GENERATOR = PlantedGenerator()


def a_file():
    latent = torch.zeros(8)
    latent[[1, 4]] = torch.tensor([0.8, -0.6])
    direction = Direction(latent, torch.zeros(4))
    return DirectionFile.of(direction, "background", "by hand", GENERATOR)


def test_a_direction_is_read_as_it_was_written():
    file = a_file()
    read = read_direction("d.json", file.content(), GENERATOR)
    torch.testing.assert_close(read.direction.latent, file.direction.latent)
    assert not read.direction.embedding.any()
    assert dataclasses.replace(read, direction=file.direction) == file
    assert read.direction.dimensions == [("latent", 1), ("latent", 4)]
    assert len(file.content()) < 600


def changed(**entries):
    return json.dumps({**json.loads(a_file().content()), **entries}).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x00\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a direction"),
        (b'{"format": "other"}', "not a direction"),
        (changed(generator_digest="another", generator="biggan"), "belongs to biggan"),
        (changed(generator_digest=None), "belongs to"),
        (changed(latent={"8": 1.0}), r"in 0\.\.7"),
        (changed(embedding={"4": 1.0}), r"in 0\.\.3"),
        (changed(latent={"-1": 1.0}), "damaged"),
        (changed(latent={"1": "x"}), "damaged"),
        (changed(latent={"1": True}), "damaged"),
        (changed(latent={"1": float("nan")}), "damaged"),
        (changed(latent={"1": float("inf")}), "damaged"),
        (changed(latent=[1, 2]), "damaged"),
        (changed(latent={}, embedding={}), "empty"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(content, words):
    with pytest.raises(InputError, match=words) as fault:
        read_direction("d.json", content, GENERATOR)
    assert "\n" not in str(fault.value)
    assert "d.json" in str(fault.value)


def test_a_generator_that_takes_class_indices_refuses_a_change_of_the_embedding():
    generator = PlantedGenerator()
    generator.takes_embeddings = False
    with pytest.raises(InputError, match="takes class indices"):
        read_direction("d.json", changed(embedding={"2": 1.0}), generator)
    assert read_direction("d.json", a_file().content(), generator).name == "background"
