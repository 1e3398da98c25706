"""The cluster files by Ray's own validator, for what that misses, and by what Ray's autoscaler makes of them."""

import copy
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import ray
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import ResourceRequestByCount
from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent

ROOT = Path(__file__).parent.parent
FILES = {"aws": ROOT / "cluster.yaml", "gcp": ROOT / "workflows/deploy/cluster-gcp.yaml"}
PROVIDER = {
    "aws": {"type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips", "key_pair"},
    "gcp": {"type", "region", "availability_zone", "cache_stopped_nodes", "use_internal_ips", "project_id"},
}
# Fields of Compute Engine's v1 `Instance` that a node may want; a list stands for each of its items.
GCP_INSTANCE = {
    **dict.fromkeys(["machineType", "minCpuPlatform", "labels", "tags", "metadata", "description"]),
    "disks": [
        dict.fromkeys(["boot", "autoDelete", "type", "source", "mode", "deviceName"])
        | {"initializeParams": dict.fromkeys(["diskSizeGb", "diskType", "sourceImage", "labels"])}
    ],
    "networkInterfaces": [dict.fromkeys(["network", "subnetwork", "nicType", "stackType", "accessConfigs"])],
    "serviceAccounts": [dict.fromkeys(["email", "scopes"])],
    "guestAccelerators": [dict.fromkeys(["acceleratorType", "acceleratorCount"])],
    "scheduling": dict.fromkeys(
        ["provisioningModel", "instanceTerminationAction", "onHostMaintenance", "automaticRestart", "maxRunDuration"]
    ),
    "shieldedInstanceConfig": dict.fromkeys(["enableSecureBoot", "enableVtpm", "enableIntegrityMonitoring"]),
}
RAYS_OWN = {"SubnetIds"}
"""Keys of an AWS node that Ray takes out before it asks for instances (its AWS provider's ``_create_node``)."""

Config = dict[str, Any]


def loaded(cloud: str) -> Config:
    return yaml.safe_load(FILES[cloud].read_text())


def pinned(name: str) -> str:
    """The version of a package in constraints.txt."""
    lines = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return lines[name]


def run_instances_shape() -> Any:
    """What EC2's RunInstances takes, by the model that botocore ships."""
    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def unknown_to_aws(value: Any, shape: Any, where: str) -> list[str]:
    """Paths of keys that are no members of a shape, and of values outside its enumeration."""
    if shape.type_name == "structure":
        if not isinstance(value, Mapping):
            return [where]
        return [
            path
            for name, one in value.items()
            for path in (
                unknown_to_aws(one, shape.members[name], f"{where}.{name}")
                if name in shape.members
                else [f"{where}.{name}"]
            )
        ]
    if shape.type_name == "list":
        return [path for one in value for path in unknown_to_aws(one, shape.member, f"{where}[]")]
    allowed = getattr(shape, "enum", None)
    return [where] if allowed and value not in allowed else []


def unknown_to_gcp(value: Any, known: Any, where: str) -> list[str]:
    """Paths of keys that the allow-list does not have."""
    if isinstance(known, list):
        if not isinstance(value, list):
            return [where]
        return [path for one in value for path in unknown_to_gcp(one, known[0], f"{where}[]")]
    if known is None:
        return []
    if not isinstance(value, Mapping):
        return [where]
    return [
        path
        for name, one in value.items()
        for path in (unknown_to_gcp(one, known[name], f"{where}.{name}") if name in known else [f"{where}.{name}"])
    ]


def check_with_ray(config: Config) -> None:
    validate_config(prepare_config(copy.deepcopy(config)))


def check_keys(config: Config) -> None:
    cloud = config["provider"]["type"]
    assert set(config["provider"]) <= PROVIDER[cloud]
    for name, node in config["available_node_types"].items():
        own = {key: value for key, value in node["node_config"].items() if key not in RAYS_OWN}
        found = (
            unknown_to_aws(own, run_instances_shape(), name)
            if cloud == "aws"
            else unknown_to_gcp(own, GCP_INSTANCE, name)
        )
        assert not found


def check_node_types(config: Config) -> None:
    """The head computes nothing; spot comes first; the fallback is the same machine, on demand."""
    assert "min_workers" not in config  # Ray drops it without a word
    types = config["available_node_types"]
    assert config["head_node_type"] == "head" and types["head"]["resources"] == {"CPU": 0}
    assert set(types) == {"head", "spot_gpu", "on_demand_gpu"}
    spot, on_demand = types["spot_gpu"], types["on_demand_gpu"]
    assert spot["resources"] == on_demand["resources"] and spot["resources"]["GPU"] == 1
    assert spot["priority"] > on_demand["priority"]
    assert spot["min_workers"] == on_demand["min_workers"] == 0
    assert on_demand["max_workers"] > 0
    assert spot["max_workers"] + on_demand["max_workers"] == config["max_workers"]
    assert {name: is_spot(node["node_config"]) for name, node in types.items()} == {
        "head": False,
        "spot_gpu": True,
        "on_demand_gpu": False,
    }
    assert 0 < config["idle_timeout_minutes"] <= 15
    assert config["provider"]["cache_stopped_nodes"] is False


def is_spot(node: Config) -> bool:
    market = node.get("InstanceMarketOptions", {}).get("MarketType")
    return market == "spot" or node.get("scheduling", {}).get("provisioningModel") == "SPOT"


def check_network_and_rights(config: Config) -> None:
    """Private addresses, credentials by role, images pinned, the same for all nodes."""
    assert config["provider"]["use_internal_ips"] is True
    nodes = [node["node_config"] for node in config["available_node_types"].values()]
    for node in nodes:
        if config["provider"]["type"] == "aws":
            assert node["SubnetIds"] and node["SecurityGroupIds"]
            assert node["IamInstanceProfile"].keys() <= {"Arn", "Name"} and node["IamInstanceProfile"]
            assert node["MetadataOptions"]["HttpTokens"] == "required"
            assert node["ImageId"] == nodes[0]["ImageId"] and node["ImageId"].startswith("ami-")
        else:
            assert not any("accessConfigs" in interface for interface in node["networkInterfaces"])
            assert node["serviceAccounts"][0]["email"] and node["serviceAccounts"][0]["scopes"]
            images = [disk["initializeParams"]["sourceImage"] for disk in node["disks"]]
            assert all("/images/" in image and "/family/" not in image for image in images)


ENVIRONMENT = "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token;"


def check_commands(config: Config) -> None:
    """Start commands with authentication, the dashboard on loopback, the project from its lock."""
    head, worker = (
        next(command for command in config[f"{kind}_start_ray_commands"] if "ray start" in command)
        for kind in ("head", "worker")
    )
    assert head.startswith(ENVIRONMENT) and worker.startswith(ENVIRONMENT)
    assert "--dashboard-host=127.0.0.1" in head.split()
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head.split() and "--head" in head.split()
    assert "--address=$RAY_HEAD_IP:6379" in worker.split() and "--port=6379" in head.split()
    setup = config["setup_commands"]
    assert any(re.search(r"pip install .*--constraint ~/cawa/constraints.txt .*~/cawa$", line) for line in setup)
    assert any("chmod 600 ~/.ray/auth_token" in line for line in setup)
    for line in setup + config["head_setup_commands"] + config["worker_setup_commands"]:
        for name, version in re.findall(r"([\w-]+)==([\w.]+)", line):
            assert name != "ray" or version == pinned("ray")
        assert "pip install" not in line or "--constraint" in line
    assert config["file_mounts"] == {"~/cawa": ".", "~/.ray/auth_token": "~/.ray/cawa_auth_token"}
    assert {".git", ".venv", "results"} <= set(config["rsync_exclude"])
    assert "RAY_AUTH_TOKEN=" not in yaml.safe_dump(config)


CHECKS = (check_with_ray, check_keys, check_node_types, check_network_and_rights, check_commands)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("cloud", FILES)
def test_cluster_files(cloud, check):
    check(loaded(cloud))


def test_the_nodes_get_the_ray_that_is_tested_here():
    assert pinned("ray") == ray.__version__


def changed(path: str, value: Any) -> Callable[[Config], None]:
    """Sets what a dotted path names; None deletes it."""

    def change(config: Config) -> None:
        *parents, last = [int(word) if word.isdigit() else word for word in path.split(".")]
        target: Any = config
        for word in parents:
            target = target[word]
        if value is None:
            del target[last]
        else:
            target[last] = value

    change.__name__ = f"{path}={value}"
    return change


def replaced(old: str, new: str) -> Callable[[Config], None]:
    """Changes text in each command."""

    def change(config: Config) -> None:
        for key in [key for key in config if key.endswith("_commands")]:
            config[key] = [command.replace(old, new) for command in config[key]]

    change.__name__ = f"{old}->{new}"
    return change


SPOT, ON_DEMAND = "available_node_types.spot_gpu", "available_node_types.on_demand_gpu"
BROKEN_ANYWHERE = [
    (check_with_ray, changed("max_worker", 8)),
    (check_with_ray, changed("head_node_type", "haed")),
    (check_with_ray, changed(f"{SPOT}.min_worker", 1)),
    (check_with_ray, changed(f"{SPOT}.resources", None)),
    (check_keys, changed("provider.use_internal_ip", True)),
    (check_node_types, changed("min_workers", 1)),
    (check_node_types, changed("available_node_types.head.resources", {"CPU": 2})),
    (check_node_types, changed(ON_DEMAND, None)),
    (check_node_types, changed(f"{ON_DEMAND}.max_workers", 0)),
    (check_node_types, changed(f"{ON_DEMAND}.priority", 1)),
    (check_node_types, changed("max_workers", 20)),
    (check_node_types, changed("idle_timeout_minutes", 600)),
    (check_node_types, changed("provider.cache_stopped_nodes", True)),
    (check_network_and_rights, changed("provider.use_internal_ips", False)),
    (check_commands, replaced("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0")),
    (check_commands, replaced("--dashboard-host=127.0.0.1 ", "")),
    (check_commands, replaced("RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled")),
    (check_commands, replaced("RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token", "RAY_AUTH_TOKEN=secret")),
    (check_commands, replaced("--constraint ~/cawa/constraints.txt", "")),
    (check_commands, replaced("python3 -m venv ~/venv", "pip install --constraint x ray==2.59.0")),
    (check_commands, replaced("chmod 600", "chmod 644")),
    (check_commands, changed("file_mounts", {"~/cawa": "."})),
]
BROKEN = {
    "aws": [
        *BROKEN_ANYWHERE,
        (check_keys, changed(f"{SPOT}.node_config.InstanceMarketOption", {"MarketType": "spot"})),
        (check_keys, changed(f"{SPOT}.node_config.InstanceMarketOptions.SpotOptions.MaxPrices", "1")),
        (check_keys, changed(f"{SPOT}.node_config.InstanceMarketOptions.MarketType", "Spot")),
        (check_keys, changed(f"{SPOT}.node_config.InstanceMarketOptions", "spot")),
        (check_keys, changed(f"{SPOT}.node_config.BlockDeviceMappings.0.Ebs.VolumSize", 10)),
        (check_keys, changed(f"{SPOT}.node_config.InstanceType", "g5.tiny")),
        (check_node_types, changed(f"{SPOT}.node_config.InstanceMarketOptions", None)),
        (check_network_and_rights, changed(f"{SPOT}.node_config.IamInstanceProfile", {})),
        (check_network_and_rights, changed(f"{SPOT}.node_config.ImageId", "latest_dlami")),
        (check_network_and_rights, changed(f"{SPOT}.node_config.SubnetIds", [])),
    ],
    "gcp": [
        *BROKEN_ANYWHERE,
        (check_keys, changed(f"{SPOT}.node_config.machinetype", "g2-standard-4")),
        (check_keys, changed(f"{SPOT}.node_config.scheduling.preemptable", True)),
        (check_keys, changed(f"{SPOT}.node_config.scheduling", [{"preemptible": True}])),
        (check_keys, changed(f"{SPOT}.node_config.disks.0.initializeParams.diskSizeGB", 10)),
        (check_node_types, changed(f"{SPOT}.node_config.scheduling.provisioningModel", "STANDARD")),
        (check_network_and_rights, changed(f"{SPOT}.node_config.networkInterfaces.0.accessConfigs", [{}])),
        (check_network_and_rights, changed(f"{SPOT}.node_config.serviceAccounts.0.email", "")),
    ],
}


@pytest.mark.parametrize(
    ("cloud", "check", "change"),
    [
        pytest.param(cloud, *case, id=f"{cloud}-{case[0].__name__}-{case[1].__name__}")
        for cloud in FILES
        for case in BROKEN[cloud]
    ],
)
def test_broken_copies_are_refused(cloud, check, change):
    config = loaded(cloud)
    change(config)
    with pytest.raises((AssertionError, ValidationError, ValueError)):
        check(config)


@pytest.mark.parametrize("cloud", FILES)
def test_ray_itself_misses_typos_in_nodes_and_drops_min_workers(cloud):
    """Why there are checks beside Ray's."""
    config = loaded(cloud)
    config["min_workers"] = 3
    config["provider"]["use_internal_ip"] = True
    config["available_node_types"]["spot_gpu"]["node_config"]["instancetype"] = "typo"
    check_with_ray(config)
    assert "min_workers" not in prepare_config(config)


def launched(cloud: str, workers: int, monitor: CloudResourceMonitor) -> dict[str, int]:
    """What Ray's autoscaler starts on an empty cluster for that many workers of an audit."""
    config = AutoscalingConfig(prepare_config(loaded(cloud) | {"file_mounts": {}}))
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=config.get_node_type_configs(),
        max_num_nodes=config.get_max_num_nodes(),
        resource_requests=[
            ResourceRequestByCount(request=ResourceRequestUtil.make({"CPU": 1, "GPU": 1}), count=workers)
        ],
        cloud_resource_availabilities=monitor.get_resource_availabilities(),
        recoverable_resource_availabilities=monitor.get_recoverable_resource_availabilities(),
    )
    return {one.instance_type: one.count for one in ResourceDemandScheduler(None).schedule(request).to_launch}


def event(status: int) -> InstanceUpdateEvent:
    return InstanceUpdateEvent(instance_id="1", new_instance_status=status, instance_type="spot_gpu")


@pytest.mark.parametrize("cloud", FILES)
def test_spot_is_started_first_and_the_rest_on_demand(cloud):
    monitor = CloudResourceMonitor()
    assert launched(cloud, 1, monitor) == {"spot_gpu": 1}
    assert launched(cloud, 6, monitor) == {"spot_gpu": 6}
    assert launched(cloud, 8, monitor) == {"spot_gpu": 6, "on_demand_gpu": 2}


def test_ray_turns_to_demand_after_a_failed_start_but_not_after_a_refusal(caplog):
    """As the comment in cluster.yaml says; where this fails, Ray chooses otherwise and the comment is to be changed."""
    caplog.set_level(logging.ERROR)
    monitor = CloudResourceMonitor()
    monitor.notify([event(Instance.ALLOCATION_FAILED)])
    assert launched("aws", 1, monitor) == {"spot_gpu": 1}
    monitor.notify([event(Instance.ALLOCATION_TIMEOUT)])
    assert launched("aws", 1, monitor) == {"on_demand_gpu": 1}
    monitor.notify([event(Instance.RAY_RUNNING)])
    assert launched("aws", 1, monitor) == {"spot_gpu": 1}
