"""``cluster.yaml`` by Ray's own validator, and for what that misses."""

from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

TEXT = (Path(__file__).parent.parent / "cluster.yaml").read_text()


def test_ray_accepts_it():
    validate_config(prepare_config(yaml.safe_load(TEXT)))


def test_the_head_computes_nothing_and_shows_nothing():
    cluster = yaml.safe_load(TEXT)
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    start = " ".join(cluster["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in start
    assert "min_workers" not in cluster
    for node in cluster["available_node_types"].values():
        assert {"InstanceType", "ImageId"} <= set(node["node_config"])
