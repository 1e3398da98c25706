"""The scheduled audit by a shell script and by KubeRay, and a job submitted to a cluster that asks for a token."""

import contextlib
import copy
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "workflows/deploy/audit_on_schedule.sh"
MANIFEST = (ROOT / "workflows/deploy/audit-cronjob.yaml").read_text()

FAKE_RAY = """#!/bin/sh
echo "ray $*" >> "$CALLS"
case $1 in
up) [ -z "${UP_SLEEPS:-}" ] || sleep "$UP_SLEEPS"; exit "${UP:-0}" ;;
exec) [ -z "${EXEC_SLEEPS:-}" ] || sleep "$EXEC_SLEEPS"
      [ -z "${AUDIT:-}" ] || {
          echo "newest checkpoint: <$NEWEST>"; echo "audit exit code: $AUDIT"; [ "$AUDIT" -eq 0 ] || exit 1; }
      exit "${EXEC:-0}" ;;
down) count=$(grep -c '^ray down' "$CALLS"); [ "$count" -gt "${DOWN_FAILS:-0}" ] ;;
esac
"""
FAKE_CAWA = """#!/bin/sh
echo "cawa $*" >> "$CALLS"
case $1 in
audit) exit "${AUDIT_ONLY:-${COMPARE:-0}}" ;;
compare) exit "${COMPARE_ONLY:-${COMPARE:-0}}" ;;
esac
"""


class Schedule:
    """The script beside fake ``ray`` and ``cawa``, which record their calls and fail on demand."""

    def __init__(self, folder: Path):
        self.folder, self.calls_file = folder, folder / "calls"
        self.cluster = folder / "cluster.yaml"
        self.cluster.write_text("cluster_name: cawa # REPLACE is fine in a comment\n".replace("#", "\n#"))
        (folder / "bin").mkdir()
        for name, text in (("ray", FAKE_RAY), ("cawa", FAKE_CAWA)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def start(self, *options: str, base: str = "s3://b/base", **settings: object) -> subprocess.Popen:
        env = os.environ | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "CALLS": str(self.calls_file),
            "CAWA_LOGS": str(self.folder / "logs"),
            "CAWA_DOWN_PAUSE": "0",
            "NEWEST": "step-10k.pt",
            **{name: str(value) for name, value in settings.items()},
        }
        command = [str(SCRIPT), str(self.cluster), base, "s3://b/audits/", "/nodes/checkpoints", *options]
        return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *options: str, **settings: object) -> tuple[int, str]:
        process = self.start(*options, **settings)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def calls(self) -> list[str]:
        """First two words of each call; an option that follows ``up`` or ``down`` is not one."""
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        return [" ".join(line.split()[:2]) for line in lines if line.startswith(("ray ", "cawa "))]

    def wait_for(self, call: str) -> None:
        until = time.monotonic() + 20
        while call not in self.calls():
            assert time.monotonic() < until, self.calls()
            time.sleep(0.002)


@pytest.fixture
def schedule(tmp_path) -> Schedule:
    return Schedule(tmp_path)


WHOLE = ["ray up", "ray exec", "ray down", "cawa compare"]


def test_a_scheduled_audit_starts_audits_stops_and_compares(schedule):
    assert schedule.run("--workers", "8", AUDIT=0) == (0, "")
    assert schedule.calls() == WHOLE
    assert "cawa compare s3://b/base s3://b/audits/step-10k.pt\n" in schedule.calls_file.read_text()
    (log,) = (schedule.folder / "logs").glob("*.log")
    assert log.stat().st_mode & 0o077 == 0


def test_the_command_on_the_head_is_quoted_for_its_shells(schedule):
    schedule.run("--classes", "golden retriever,it's $HOME", AUDIT=0)
    (line,) = [line for line in schedule.calls_file.read_text().splitlines() if line.startswith("ray exec")]
    remote = line.split(" ", 3)[3]
    assert remote.startswith("RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token ~/venv/bin/ray job submit ")
    words = subprocess.run(
        ["sh", "-c", "printf '%s\\n' " + remote.split(" -- ", 1)[1]], capture_output=True, text=True
    ).stdout.splitlines()
    assert words[:2] == ["sh", "-c"]
    assert words[3:] == ["job", "/nodes/checkpoints", "s3://b/audits", "--executor", "ray", *words[8:]]
    assert words[8:] == ["--classes", "golden retriever,it's $HOME"]


def job_on_the_head(schedule, folder: Path, **settings: str) -> subprocess.CompletedProcess:
    """What the script sends, run in a home folder with the fake ``cawa``."""
    schedule.run("--classes", "it's", AUDIT=0)
    (line,) = [line for line in schedule.calls_file.read_text().splitlines() if line.startswith("ray exec")]
    home = folder / "home"
    (home / "venv/bin").mkdir(parents=True)
    (home / "venv/bin/cawa").symlink_to(schedule.folder / "bin/cawa")
    sent = line.split(" -- ", 1)[1].replace("/nodes/checkpoints", str(folder / "checkpoints"))
    env = os.environ | {"HOME": str(home), "CALLS": str(schedule.calls_file), **settings}
    return subprocess.run(["sh", "-c", sent], env=env, capture_output=True, text=True)


def test_the_job_audits_the_newest_checkpoint_into_its_own_folder(schedule, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("step-9k.pt", "step-10k.pt", "step-8k.pt"):
        (tmp_path / "checkpoints" / name).touch()
    job = job_on_the_head(schedule, tmp_path, COMPARE="3")
    assert (job.returncode, job.stdout) == (3, "newest checkpoint: <step-10k.pt>\naudit exit code: 3\n")
    weights = tmp_path / "checkpoints/step-10k.pt"
    called = f"cawa audit --weights {weights} --output s3://b/audits/step-10k.pt --executor ray --classes it's"
    assert schedule.calls_file.read_text().splitlines()[-1] == called


def test_the_job_without_a_checkpoint_is_bad_input(schedule, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    job = job_on_the_head(schedule, tmp_path)
    assert job.returncode == 2
    assert job.stdout.endswith("audit exit code: 2\n")
    assert "cawa audit" not in schedule.calls_file.read_text()


def compared(schedule) -> list[str]:
    return [line for line in schedule.calls_file.read_text().splitlines() if line.startswith("cawa compare")]


def test_week_after_week_the_new_checkpoint_is_compared_with_the_last_good_one(schedule):
    """The first is good, the second too, the third is worse, the fourth stays, and the fifth is better."""
    weeks = [("one", 0, 0), ("two", 0, 0), ("three", 4, 4), ("three", 4, 4), ("five", 0, 0), ("five", 4, 0)]
    for newest, compare, expected in weeks:
        assert schedule.run(AUDIT=0, base="last", NEWEST=newest, COMPARE=compare)[0] == expected
    pairs = [("one", "two"), ("two", "three"), ("two", "three"), ("two", "five")]
    assert compared(schedule) == [f"cawa compare s3://b/audits/{one} s3://b/audits/{other}" for one, other in pairs]


def test_an_audit_that_failed_is_no_good_one(schedule):
    for newest, audit in (("one", 0), ("two", 3), ("three", 0)):
        schedule.run(AUDIT=audit, base="last", NEWEST=newest)
    assert compared(schedule) == ["cawa compare s3://b/audits/one s3://b/audits/three"]


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_failed_audit_ends_the_cluster_and_passes_its_code_on(schedule, code):
    returned, errors = schedule.run(AUDIT=code)
    assert returned == code
    assert schedule.calls() == ["ray up", "ray exec", "ray down"]
    assert f"audit exit code: {code}" in errors


def test_a_lost_connection_is_a_failure(schedule):
    assert schedule.run(EXEC=1)[0] == 1
    assert schedule.calls() == ["ray up", "ray exec", "ray down"]


def test_a_job_that_reports_success_through_a_failing_connection_is_a_failure(schedule):
    assert schedule.run(AUDIT=0, EXEC=1)[0] == 1


def test_half_a_start_is_taken_down(schedule):
    assert schedule.run(UP=1)[0] == 1
    assert schedule.calls() == ["ray up", "ray down"]


@pytest.mark.parametrize(
    ("settings", "calls"),
    [
        ({"UP_SLEEPS": 30, "CAWA_UP_TIMEOUT": 0.3}, ["ray up", "ray down"]),
        ({"EXEC_SLEEPS": 30, "CAWA_AUDIT_TIMEOUT": 0.3}, ["ray up", "ray exec", "ray down"]),
    ],
    ids=["start", "audit"],
)
def test_out_of_time(schedule, settings, calls):
    assert schedule.run(**settings)[0] == 124
    assert schedule.calls() == calls


@pytest.mark.parametrize("sleeper", ["UP_SLEEPS", "EXEC_SLEEPS"])
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda sent: sent.name)
def test_signals_end_the_cluster(schedule, sent, sleeper):
    process = schedule.start(**{sleeper: 30})
    schedule.wait_for("ray up" if sleeper == "UP_SLEEPS" else "ray exec")
    began = time.monotonic()
    process.send_signal(sent)
    process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert process.returncode == 128 + sent
    assert schedule.calls()[-1] == "ray down"


@pytest.fixture
def one_busy_processor():
    """Everything started from here shares one processor with endless loops, so that a parent may run long after its
    child."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(4)]
    yield before
    for loop in loops:
        loop.kill()
        loop.wait()
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize("attempt", range(4))
def test_a_signal_that_comes_before_the_script_knows_its_child(schedule, one_busy_processor, attempt):
    """`ray up` has begun, and the shell that began it has not run since. Many attempts hit that moment."""
    process = schedule.start(UP_SLEEPS=30)
    os.sched_setaffinity(0, one_busy_processor)
    schedule.wait_for("ray up")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert schedule.calls() == ["ray up", "ray down"]


def test_a_regression_is_passed_on(schedule):
    assert schedule.run(AUDIT=0, COMPARE=4)[0] == 4
    assert schedule.calls() == WHOLE


def test_without_a_base_nothing_is_compared(schedule):
    assert schedule.run(AUDIT=0, base="none")[0] == 0
    assert schedule.calls() == WHOLE[:3]


def test_taking_down_is_tried_three_times(schedule):
    assert schedule.run(AUDIT=0, DOWN_FAILS=2)[0] == 0
    assert schedule.calls() == ["ray up", "ray exec", "ray down", "ray down", "ray down", "cawa compare"]


def test_a_cluster_that_stays_is_said_aloud(schedule):
    returned, errors = schedule.run(AUDIT=3, DOWN_FAILS=99)
    assert returned == 70
    assert "may STILL RUN" in errors


def test_two_runs_never_overlap(schedule):
    first = schedule.start(EXEC_SLEEPS=30)
    schedule.wait_for("ray exec")
    returned, errors = schedule.run(AUDIT=0)
    assert returned == 75
    assert "still goes on" in errors
    first.terminate()
    first.communicate(timeout=20)
    assert schedule.calls() == ["ray up", "ray exec", "ray down"]
    assert schedule.run(AUDIT=0)[0] == 0


def test_what_is_not_filled_in_is_refused_before_anything_starts(schedule):
    schedule.cluster.write_text("provider: {project_id: REPLACE-project}\n")
    returned, errors = schedule.run()
    assert (returned, schedule.calls()) == (2, [])
    assert "REPLACE" in errors
    schedule.cluster.unlink()
    assert schedule.run()[0] == 2


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_finds_nothing():
    found = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


# Fields of KubeRay v1.7.0's CRD (ray-operator/config/crd/bases/ray.io_raycronjobs.yaml) that an audit may want; a list
# stands for each of its items, and None for what goes no deeper here.
CONTAINER = dict.fromkeys(["name", "image", "imagePullPolicy", "env", "envFrom", "resources", "volumeMounts"])
POD = {
    "metadata": dict.fromkeys(["annotations", "labels", "name", "namespace"]),
    "spec": {
        **dict.fromkeys(
            ["nodeSelector", "tolerations", "affinity", "serviceAccountName", "volumes", "imagePullSecrets"]
        ),
        "containers": [CONTAINER],
        "initContainers": [CONTAINER],
    },
}
GROUP = dict.fromkeys(["rayStartParams", "resources", "labels"]) | {"template": POD}
WORKERS = GROUP | dict.fromkeys(
    ["groupName", "priority", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "numOfHosts", "suspend"]
)
CLUSTER = {
    **dict.fromkeys(["rayVersion", "enableInTreeAutoscaling", "suspend", "headServiceAnnotations"]),
    "authOptions": dict.fromkeys(["mode", "secretName", "enableK8sTokenAuth"]),
    "autoscalerOptions": dict.fromkeys(
        ["version", "idleTimeoutSeconds", "upscalingMode", "env", "envFrom", "image", "resources", "volumeMounts"]
    ),
    "headGroupSpec": GROUP | dict.fromkeys(["enableIngress", "headService", "serviceType"]),
    "workerGroupSpecs": [WORKERS],
}
JOB = {
    **dict.fromkeys(["entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "jobId"]),
    **dict.fromkeys(
        ["activeDeadlineSeconds", "preRunningDeadlineSeconds", "runtimeEnvYAML", "submissionMode", "suspend"]
    ),
    **dict.fromkeys(["clusterSelector", "deletionStrategy", "metadata", "submitterConfig", "submitterPodTemplate"]),
    "rayClusterSpec": CLUSTER,
}
RAY_CRON_JOB = {
    **dict.fromkeys(["apiVersion", "kind"]),
    "metadata": POD["metadata"],
    "spec": dict.fromkeys(["schedule", "timeZone", "suspend"]) | {"jobTemplate": JOB},
}


def unknown_fields(value: object, known: object, where: str = "") -> list[str]:
    """Paths of fields that the allow-list does not know."""
    if isinstance(known, list):
        return [path for one in value for path in unknown_fields(one, known[0], f"{where}[]")]
    if not isinstance(known, dict):
        return []
    found = [f"{where}.{name}" for name in value if name not in known]
    return found + [
        p for name in value if name in known for p in unknown_fields(value[name], known[name], f"{where}.{name}")
    ]


def kubernetes_week(schedule, checkpoints: Path, **settings: str) -> int:
    """The RayCronJob's command where its containers would run it."""
    manifest = yaml.safe_load(MANIFEST)["spec"]["jobTemplate"]
    (container,) = manifest["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    env = os.environ | {one["name"]: one["value"] for one in container["env"]} | {"CALLS": str(schedule.calls_file)}
    env |= {"PATH": f"{schedule.folder / 'bin'}:{env['PATH']}", "CHECKPOINTS": str(checkpoints), **settings}
    env["LAST_GOOD"] = str(schedule.folder / "last-good")
    return subprocess.run(["sh", "-c", manifest["entrypoint"]], env=env | {"AUDITS": "s3://b/audits"}).returncode


def test_the_kubernetes_job_takes_the_newest_checkpoint_and_the_last_good_audit(schedule, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    assert kubernetes_week(schedule, checkpoints) == 2
    codes = []
    for name, settings in (
        ("step-9k", {}),
        ("step-10k", {}),
        ("step-10k", {}),
        ("step-11k", {"COMPARE_ONLY": "4"}),
        ("step-12k", {}),
        ("step-13k", {"BASE": "s3://b/paper"}),
        ("step-14k", {"AUDIT_ONLY": "3"}),
    ):
        (checkpoints / name).touch()
        codes.append(kubernetes_week(schedule, checkpoints, **settings))
    assert codes == [0, 0, 0, 4, 0, 0, 3]
    pairs = [("audits/step-9k", "step-10k"), ("audits/step-10k", "step-11k"), ("audits/step-10k", "step-12k")]
    pairs.append(("paper", "step-13k"))
    assert compared(schedule) == [f"cawa compare s3://b/{base} s3://b/audits/{new}" for base, new in pairs]
    audits = [line for line in schedule.calls_file.read_text().splitlines() if line.startswith("cawa audit")]
    assert f"--weights {checkpoints}/step-14k " in audits[-1]
    assert audits[-1].endswith("--output s3://b/audits/step-14k")


def check_manifest(manifest: dict) -> None:
    """What must hold of the RayCronJob.

    Raises:
        AssertionError: it does not.
    """
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCronJob")
    assert not unknown_fields(manifest, RAY_CRON_JOB)
    assert "TZ" not in manifest["spec"]["schedule"] and len(manifest["spec"]["schedule"].split()) == 5
    job = manifest["spec"]["jobTemplate"]
    assert job["shutdownAfterJobFinishes"] is True and job["backoffLimit"] == 0
    assert 0 < job["activeDeadlineSeconds"] < 7 * 86400
    assert all(word in job["entrypoint"] for word in ("--executor ray", "--workers", "--weights", "--output"))
    assert "cawa compare" in job["entrypoint"]
    cluster = job["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray")
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"] is True and cluster["autoscalerOptions"]["version"] == "v2"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    assert groups["spot-gpu"]["priority"] > groups["on-demand-gpu"]["priority"]
    specs = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *groups.values())]
    assert all(group["minReplicas"] == 0 < group["maxReplicas"] for group in groups.values())
    assert len({spec["containers"][0]["image"] for spec in specs}) == 1
    assert all("@sha256:" in spec["containers"][0]["image"] and spec["serviceAccountName"] for spec in specs)
    for group in groups.values():
        assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    selectors = [group["template"]["spec"]["nodeSelector"] for group in groups.values()]
    assert selectors[0] != selectors[1]


def pinned(name: str) -> str:
    """The version of a package in constraints.txt."""
    lines = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return lines[name]


def test_the_manifest_is_as_kuberay_knows_it():
    check_manifest(yaml.safe_load(MANIFEST))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("apiVersion", "ray.io/v1alpha1"),
        ("spec.concurrencyPolicy", "Forbid"),
        ("spec.schedule", "TZ=UTC 17 3 * * 1"),
        ("spec.jobTemplate.shutdownAfterJobFinishes", False),
        ("spec.jobTemplate.rayClusterSpec.rayVersion", "2.59.0"),
        ("spec.jobTemplate.rayClusterSpec.authOptions.mode", "disabled"),
        ("spec.jobTemplate.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus", "1"),
        ("spec.jobTemplate.rayClusterSpec.workerGroupSpecs.0.priority", 0),
        ("spec.jobTemplate.rayClusterSpec.workerGroupSpecs.0.max_replicas", 8),
        ("spec.jobTemplate.rayClusterSpec.workerGroupSpecs.1.template.spec.containers.0.image", "cawa:latest"),
        ("spec.jobTemplate.rayClusterSpec.workerGroupSpecs.1.template.spec.containers.0.imagePolicy", "Always"),
    ],
)
def test_a_broken_manifest_is_refused(path, value):
    manifest = copy.deepcopy(yaml.safe_load(MANIFEST))
    *parents, last = [int(word) if word.isdigit() else word for word in path.split(".")]
    target = manifest
    for word in parents:
        target = target[word]
    target[last] = value
    with pytest.raises(AssertionError):
        check_manifest(manifest)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment_with_ray() -> dict[str, str]:
    """This process's environment without Ray's variables, and with this Python's own programs first."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}


@pytest.fixture(scope="module")
def guarded_cluster():
    """A head with authentication on, in a process group of its own; gives its dashboard's URL and the token's file."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: a socket's path is limited to 107 bytes
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("0123456789abcdef" * 4)
    env = environment_with_ray() | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "OMP_NUM_THREADS": "1",
    }
    dashboard = free_port()
    ports = {name: free_port() for name in ("port", "dashboard-agent-listen-port", "ray-client-server-port")}
    command = ["ray", "start", "--head", "--block", "--num-cpus=1", f"--object-store-memory={80 * 2**20}"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    command += [f"--temp-dir={folder}", "--disable-usage-stats", *(f"--{name}={port}" for name, port in ports.items())]
    with (folder / "log").open("w") as log:
        head = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 90
        while not listens(dashboard):
            assert head.poll() is None and time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{dashboard}", token
    finally:
        end_group(head)
        shutil.rmtree(folder, ignore_errors=True)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end_group(head: subprocess.Popen) -> None:
    """End one ``ray start`` and what it started, and no other Ray on this machine, as ``ray stop`` would."""
    head.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        head.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)
    head.wait()


def submitted(url: str, token: Path | None, *entrypoint: str) -> subprocess.CompletedProcess:
    """``ray job submit`` as a user with that token file, or without any and without one in the home folder."""
    env = environment_with_ray()
    if token is None:
        env |= {"HOME": "/nonexistent", "RAY_AUTH_MODE": "disabled"}
    else:
        env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    command = ["ray", "job", "submit", "--address", url, "--", *entrypoint]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_runs_for_who_has_the_token(guarded_cluster):
    url, token = guarded_cluster
    done = submitted(url, token, "python", "-c", "print(6*7)")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n42\n" in done.stdout
    refused = submitted(url, None, "python", "-c", "print(6*7)")
    assert refused.returncode != 0
    assert "42" not in refused.stdout
    assert "token" in (refused.stdout + refused.stderr).lower()


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_joins_the_cluster_and_its_exit_code_is_in_the_log(guarded_cluster):
    """What the schedule's script counts on: RAY_ADDRESS and the token are there, and `ray job submit` ends with 1."""
    job = 'python -c "$1"; code=$?; echo "audit exit code: $code"; exit $code'
    program = "import os, ray; ray.init(); print(os.environ['RAY_ADDRESS'], ray.cluster_resources()['CPU']); exit(3)"
    done = submitted(*guarded_cluster, "sh", "-c", job, "audit", program)
    assert done.returncode == 1
    assert "audit exit code: 3" in done.stdout, done.stdout + done.stderr
    assert " 1.0\n" in done.stdout
