"""Stages: skipped when done, anew when an input changed, continued after an interruption, tracked in MLflow."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient

import doll_monai
from doll_monai.utils.errors import InputError
from doll_tools.pipeline.plan import Plan, read_preset
from doll_tools.pipeline.record import duration, fact_list, opening, pipeline_facts, stage_list
from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage, bundle_run, find_task

BUNDLE = Path("bundles") / "some_bundle"

# Counts its runs in FOLDER.runs, notes in a file what its folder held before, and copies its input.
WORK = """
import pathlib, sys
source, folder, fail = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
folder.mkdir(parents=True, exist_ok=True)
runs = folder.with_suffix(".runs")
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
(folder / f"attempt_{len(runs.read_text())}").write_text("")
print("working")
if fail.exists():
    print("first complaint", file=sys.stderr)
    print("Error: The image is upside down.", file=sys.stderr)
    sys.exit(3)
(folder / "result").write_text(source.read_text().upper())
"""


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for all tests, it takes seconds to make."""
    return tmp_path_factory.mktemp("mlflow") / "mlruns"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("text")
    return path


def _stage(output: Path, name: str, source: Path, bundle: Path | None = None) -> Stage:
    folder = output / name
    command = ["python", "-c", WORK, str(source), str(folder), str(output / f"{name}.fail")]
    return Stage(name, command, [source], folder, [folder / "result"], bundle=bundle)


def _two(output: Path, source: Path) -> list[Stage]:
    first = _stage(output, "first", source)
    return [first, _stage(output, "second", first.outputs[0])]


def _run(output: Path, mlruns: Path, stages: list[Stage]) -> list[dict]:
    return Runner(output, mlruns).run(stages, "a test")


def _runs(output: Path, name: str) -> int:
    path = output / f"{name}.runs"
    return len(path.read_text()) if path.exists() else 0


def test_fingerprint_depends_on_command_content_and_version(source, tmp_path, monkeypatch) -> None:
    stage = _stage(tmp_path, "first", source)
    before = stage.fingerprint()
    stage.tracked, stage.seconds = ["--tracking", "mlflow"], 99.0
    source.touch()
    assert stage.fingerprint() == before
    source.write_text("other")
    changed = stage.fingerprint()
    stage.command = [*stage.command, "--more"]
    longer = stage.fingerprint()
    monkeypatch.setattr(doll_monai, "__version__", "9.9.9")
    assert len({before, changed, longer, stage.fingerprint()}) == 4


@pytest.mark.parametrize(
    ("change", "attempts"),
    [("nothing", (1, 1)), ("other input", (2, 2)), ("input without effect", (2, 1)), ("missing output", (2, 1))],
)
def test_what_changed_runs_again_in_an_empty_folder(source, mlruns, tmp_path, capfd, change, attempts) -> None:
    records = _run(tmp_path, mlruns, _two(tmp_path, source))
    assert (tmp_path / "second" / "result").read_text() == "TEXT"
    assert [record["name"] for record in records] == ["first", "second"]
    if change == "missing output":
        (tmp_path / "first" / "result").unlink()
    elif change != "nothing":
        source.write_text({"other input": "other", "input without effect": "TEXT"}[change])
    again = _run(tmp_path, mlruns, _two(tmp_path, source))
    assert (_runs(tmp_path, "first"), _runs(tmp_path, "second")) == attempts
    assert ("[2/2] second: done before" in capfd.readouterr().out) == (attempts[1] == 1)
    assert change != "nothing" or again == records
    if change == "other input":
        for name in ("first", "second"):
            assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["attempt_2", "result"]
            assert (tmp_path / name / "result").read_text() == "OTHER"


def test_a_failing_stage_says_its_last_line_and_is_continued(source, mlruns, tmp_path) -> None:
    (tmp_path / "second.fail").write_text("")
    sentence = r"^The stage second failed: The image is upside down\. \(see .*second\.log\)$"
    with pytest.raises(InputError, match=sentence):
        _run(tmp_path, mlruns, _two(tmp_path, source))
    assert {"first complaint", "working"} < set((tmp_path / "logs" / "second.log").read_text().splitlines())
    (tmp_path / "second.fail").unlink()
    _run(tmp_path, mlruns, _two(tmp_path, source))
    assert (_runs(tmp_path, "first"), _runs(tmp_path, "second")) == (1, 2)
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == ["attempt_1", "attempt_2", "result"]


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ([], r"The stage idle ended without writing .*result"),
        (["absent.txt"], r"The stage idle needs .*absent\.txt, which does not exist"),
    ],
)
def test_a_file_that_is_missing_is_named(mlruns, tmp_path, inputs, sentence) -> None:
    paths, folder = [tmp_path / name for name in inputs], tmp_path / "idle"
    with pytest.raises(InputError, match=sentence):
        _run(tmp_path, mlruns, [Stage("idle", ["python", "-c", "pass"], paths, folder, [folder / "result"])])


@pytest.mark.parametrize("quiet", [False, True])
def test_standard_error_is_said_and_logged_in_whole_lines(mlruns, tmp_path, capfd, quiet) -> None:
    program = "import pathlib, sys; from doll_monai.utils.progress import Bar; list(Bar(range(12), name='images'))"
    command = ["python", "-c", f"{program}; pathlib.Path(sys.argv[1]).mkdir(); print('worked')", str(tmp_path / "made")]
    Runner(tmp_path, mlruns, quiet=quiet).run(
        [Stage("count", command, [], tmp_path / "made", [tmp_path / "made"])], "a test"
    )
    said = capfd.readouterr().err
    assert re.fullmatch("" if quiet else r"images: 0/12 \(0 %\) .*\nimages: 12/12 \(100 %\) .*\n", said)
    assert (tmp_path / "logs" / "count.log").read_bytes().decode().replace("worked\n", "", 1) == said


def test_runs_are_in_mlflow_below_their_parent(source, mlruns, tmp_path) -> None:
    stage = _stage(tmp_path, "first", source, bundle=BUNDLE)
    stage.command[2] = WORK + "\n(folder / 'arguments').write_text('\\n'.join(sys.argv[4:]))"
    runner = Runner(tmp_path, mlruns)
    (record,) = runner.run([stage], "a test")
    artifact = tmp_path / "report.html"
    artifact.write_text("report")
    runner.log_metrics({"task.dice": 0.9}, [artifact], f"a test\n\n{stage_list(runner.client, [record])}")

    client = MlflowClient(f"sqlite:///{mlruns / 'mlruns.db'}")
    child = client.get_run(record["run_id"])
    parent = client.get_run(child.data.tags["mlflow.parentRunId"])
    assert client.get_experiment(child.info.experiment_id).name == "some_bundle"
    assert client.get_experiment(parent.info.experiment_id).name == "pipeline"
    assert child.info.status == parent.info.status == "FINISHED"
    assert parent.data.metrics == {"task.dice": 0.9}
    link = f"#/experiments/{child.info.experiment_id}/runs/{child.info.run_id}"
    seconds = duration(record["seconds"])
    assert parent.data.tags["mlflow.note.content"] == f"a test\n\n1. [first]({link}) in some_bundle, {seconds}"
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["report.html"]
    assert parent.info.artifact_uri.startswith((mlruns / "pipeline").as_uri())

    arguments = (tmp_path / "first" / "arguments").read_text().splitlines()
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options["--tracking"] == str(BUNDLE / "configs" / "mlflow.json")
    assert options["--tracking_uri"] == runner.tracking_uri
    assert options["--experiment_name"] == "some_bundle"
    assert options["--run_name"] == child.info.run_name


def test_a_resumed_pipeline_takes_up_its_runs_and_says_what_it_is_now(source, mlruns, tmp_path) -> None:
    runner, found = Runner(tmp_path, mlruns), []
    (tmp_path / "first.fail").write_text("")
    for description, status in (("two images", "FAILED"), ("three images", "FINISHED")):
        try:
            runner.run([_stage(tmp_path, "first", source, bundle=BUNDLE)], description)
        except InputError:
            (tmp_path / "first.fail").unlink()
        states = [tmp_path / ".stages" / f"{name}.json" for name in ("first", "pipeline")]
        runs = [runner.client.get_run(json.loads(path.read_text())["run_id"]) for path in states]
        assert {run.info.status for run in runs} == {status}
        assert runs[1].data.tags["mlflow.note.content"] == description
        found.append([run.info.run_id for run in runs])
    assert found[0] == found[1]


def test_a_description_says_what_was_run_and_what_came_out() -> None:
    settings = {"preset": "demo", "image_size": [128, 128], "members": ["a", "b"], "chexpert": "/data/images"}
    settings |= {"task": "lungs", "task_data": "/data/lungs", "device": "CPU, 2 threads, float32"}
    facts = fact_list({**pipeline_facts(settings), "dice": 0.91234, "count": 440.0}).splitlines()
    assert {"- preset: demo, 128 x 128 pixels", "- images: images", "- dice: 0.912", "- count: 440"} <= set(facts)
    assert "`report.html`** below Artifacts" in opening(Path("/run/report.html"))


def test_bundle_command_is_one_that_a_user_can_type() -> None:
    command = bundle_run([Path("b/train.json")], Path("b"), image_size=[32, 32], network_def__tuning="full", seed=1)
    assert " ".join(command) == (
        "python -m monai.bundle run --config_file b/train.json --bundle_root b "
        "--image_size [32, 32] --network_def::tuning full --seed 1"
    )
    several = bundle_run([Path("a.json"), Path("b.json")], Path("b"))
    assert several[several.index("--config_file") + 1] == "['a.json', 'b.json']"
    stage = Stage("x", bundle_run([Path("a b.json")], Path("b")), [], Path("x"), [])
    assert "'a b.json'" in stage.shell()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"task": "liver"}, "There is no task 'liver'; there are: lungs, lungs_heart, jsrt, infection"),
        ({"chexpert": Path("/absent")}, "The folder /absent does not exist"),
        ({}, r"index\.csv does not exist"),
    ],
)
def test_a_plan_with_a_mistake_is_refused(changed: dict, sentence: str, tmp_path: Path) -> None:
    arguments = {"chexpert": tmp_path, "task": "lungs", "task_data": tmp_path, **changed}
    with pytest.raises(InputError, match=sentence):
        Plan(tmp_path / "output", **arguments, preset=read_preset("demo")).stages()


def test_organs_are_learnt_from_their_own_images_and_found_in_all(tmp_path: Path) -> None:
    for name, columns in (("images", "image"), ("task", "image,lungs"), ("organs", "image,lungs,heart")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.csv").write_text(f"{columns}\n{columns}\n")
    preset = read_preset("demo") | {"images": {"parts": "a,b", "held_out": "a/boxes.csv"}}
    folders = [tmp_path / name for name in ("images", "task", "organs")]
    plan = Plan(tmp_path / "run", folders[0], "lungs", folders[1], preset, folders[2])
    stages = {stage.name: stage for stage in plan.stages()}
    given = {name: dict(itertools.pairwise(one.command)) for name, one in stages.items()}
    assert list(stages)[5:11] == [
        *("generate_first_labels", "pretrain_for_organs", "prepare_organs", "fine_tune_organs", "segment_organs"),
        "generate_labels",
    ]
    assert [given[name]["--dataset_dir"] for name in ("fine_tune_organs", "segment_organs", "fine_tune_adapter")] == [
        *(str(folders[2]), str(folders[0]), str(folders[1]))
    ]
    assert given["fine_tune_organs"]["--classes"] == '["lungs", "heart"]'
    masks = str(stages["segment_organs"].folder)
    assert [given[name].get("--organ_dir") for name in ("generate_first_labels", "generate_labels")] == [None, masks]
    model = tmp_path / "run" / "organs" / "model" / "model.pt"
    assert model in stages["generate_labels"].inputs, "labels are made again when the organs are others"
    tables = [folders[0] / part / name for part in "ab" for name in ("train.csv", "valid.csv")]
    assert stages["prepare_images"].inputs == [*tables, folders[0] / "a" / "boxes.csv"]


def test_a_preset_is_one_of_ours_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no preset 'huge'; there are: demo, full, small"):
        read_preset("huge")
    (tmp_path / "own.json").write_text(json.dumps({"members": ["resnet18"]}))
    assert read_preset(str(tmp_path / "own.json"))["members"] == ["resnet18"]


def test_a_class_is_made_of_the_columns_that_are_there() -> None:
    columns = ["image", "left_lung", "right_lung", "heart", "clavicles"]
    assert find_task("jsrt").mask_classes(columns, "") == "lungs=right_lung+left_lung,heart=heart,clavicles=clavicles"
    with pytest.raises(InputError, match=r"index\.csv has none of the columns infection"):
        find_task("infection").mask_classes(columns, "index.csv")


def test_a_store_or_experiment_that_cannot_take_runs_is_named_first(source, mlruns, tmp_path) -> None:
    with pytest.raises(InputError, match="MLflow keeps no runs in a folder"):
        Runner(tmp_path, mlruns, str(tmp_path))
    bundle = Path("bundles") / "deleted_bundle"
    stages = [_stage(tmp_path, "first", source), _stage(tmp_path, "second", source, bundle)]
    runner = Runner(tmp_path, mlruns)
    runner.client.delete_experiment(runner.client.create_experiment(bundle.name))
    with pytest.raises(InputError, match=r"The MLflow experiment deleted_bundle in .* was deleted; restore it"):
        runner.run(stages, "a test")
    assert _runs(tmp_path, "first") == 0


def test_a_second_pipeline_is_kept_out_of_the_folder(source, mlruns, tmp_path) -> None:
    with FileLock(tmp_path / ".pipeline.lock"), pytest.raises(InputError, match="Another pipeline is at work in"):
        _run(tmp_path, mlruns, _two(tmp_path, source))
    assert not (tmp_path / "first").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a stage ends with its killed pipeline on Linux alone")
def test_a_stage_dies_with_its_killed_pipeline(source, mlruns, tmp_path) -> None:
    program = textwrap.dedent(f"""
        from pathlib import Path
        from doll_tools.pipeline.runner import Runner
        from doll_tools.pipeline.stages import Stage
        work = "import os, pathlib, time; pathlib.Path('{tmp_path}/pid').write_text(str(os.getpid())); time.sleep(60)"
        stage = Stage("long", ["python", "-c", work], [], Path("{tmp_path}/long"), [Path("{tmp_path}/long/result")])
        Runner(Path("{tmp_path}"), Path("{mlruns}")).run([stage], "a test")
    """)
    pipeline = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    written = tmp_path / "pid"
    _wait_until(lambda: written.is_file() and bool(written.read_text()), 180)
    pipeline.kill()
    pipeline.wait()
    _wait_until(lambda: not _alive(int(written.read_text())))


def _wait_until(condition: Callable[[], bool], seconds: int = 50) -> None:
    """The program sleeps a minute: what comes sooner is not its own end."""
    for _ in range(10 * seconds):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_wait_passively_unless_the_user_says_otherwise(mlruns, tmp_path, monkeypatch, capsys, given) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    if given:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    found = tmp_path / "stage" / "found"
    work = f"import os, pathlib; p = pathlib.Path({str(found)!r}); p.parent.mkdir(); "
    work += "p.write_text(os.environ['OMP_WAIT_POLICY'])"
    _run(tmp_path, mlruns, [Stage("stage", ["python", "-c", work], [], found.parent, [found])])
    assert found.read_text() == (given or "PASSIVE")
    assert ("OMP_WAIT_POLICY=PASSIVE" in capsys.readouterr().out) == (given is None)
