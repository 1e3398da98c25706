"""Shards: their sites and their names, which are those of files."""

import re

import pytest

from cawa_core.tables.parquet import FILE_NAME
from workflows.planning.shards import Shard, blocks


@pytest.mark.parametrize(
    ("shard", "name"),
    [
        (Shard("gallery", (3,)), "gallery-c0003-0003"),
        (Shard("gallery", (3, 5, 1200)), "gallery-c0003-1200"),
        (Shard("masking", (1,), ((0,),), by_site=True), "masking-c0001-0001-s00-00"),
        (Shard("masking", (1,), ((0,), (5,)), by_site=True), "masking-c0001-0001-s00-05"),
        (Shard("classifiers", (1,), ((2, 7), (2, 11))), "classifiers-c0001-0001-u02.07-02.11"),
    ],
)
def test_a_name_says_what_the_shard_covers(shard, name):
    assert shard.name == name


def test_sites_are_units_where_units_are_sites():
    assert Shard("masking", (1,), ((0,), (5,)), by_site=True).sites == (0, 5)
    assert Shard("masking", (1,)).sites == Shard("classifiers", (1,), ((2,),)).sites == ()


def test_text_in_a_unit_never_becomes_part_of_a_path():
    """Whatever it holds; different texts have different names."""
    texts = ("../../etc", "a/b", "a b", "ü", "")
    names = [Shard("classifiers", (1,), ((text, 3),)).name for text in texts]
    assert len(set(names)) == len(texts)
    for name in names:
        assert re.fullmatch(FILE_NAME, name.replace("-", "_"))


def test_the_cost_of_a_shard_is_no_part_of_what_it_is():
    assert Shard("gallery", (1,), cost=3.0) == Shard("gallery", (1,), cost=4.0)


def test_blocks_are_consecutive():
    assert blocks((1, 2, 3, 4, 5), 2) == [(1, 2), (3, 4), (5,)]
    assert blocks((), 2) == []
