"""The pictures in the documentation of five bundles: what each makes of synthetic images.

Example, after make demo:
    python scripts/figures/bundle_pictures.py --demo output/demo --task_images output/phantom_task \
--output output/figures

The classifier's picture is roc.png of its own evaluation.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import InputError, run_program

ROOT = Path(__file__).resolve().parents[2]
CLASSES = {
    "jsrt_cxr_segmentation": "lungs=right_lung+left_lung,heart=heart,clavicles=clavicles",
    "covid_cxr_segmentation": "infection=infection",
}
IMAGES = {"training": 10, "validation": 10}


def bundle_pictures(demo: str, task_images: str, output: str, epochs: int = 160) -> None:
    """Write NAME.png for each bundle.

    Args:
        demo: output folder of run_pipeline.py --preset demo.
        task_images: folder of the task's images, whose index.csv names masks of lungs, heart, clavicles and infection.
        output: folder for the pictures, and for the models of the tasks that the demo has none of.
        epochs: epochs of training for these, on ten images.
    """
    from doll_tools.report.overview import write_overview

    run, images, folder = Path(demo).resolve(), Path(task_images).resolve(), Path(output).resolve()
    if not (run / "pipeline.json").is_file():
        raise InputError(f"{demo} is not the output folder of a finished run_pipeline.py.")
    folder.mkdir(parents=True, exist_ok=True)
    record = json.loads((run / "pipeline.json").read_text())
    values = {"image_size": _executed(run, "pretrain")["image_size"], "num_workers": 0}

    write_overview(run, folder / "doll_cxr_label_generation.png", task=False)
    own = {"dataset_dir": record["chexpert"], "label_dir": run / "labels"}
    network = run / "configs" / "pretraining_network.json"
    _evaluate("doll_cxr_segmentation", network, run / "pretraining" / "model.pt", folder, values | own)
    network = run / "configs" / "task_network.json"
    own = {"dataset_dir": images, "label_dir": run / "task"}
    _evaluate("lung_cxr_segmentation", network, run / "lung" / "adapter" / "model.pt", folder, values | own)
    rate = _executed(run, "fine_tune_adapter")["learning_rate"]
    for bundle, classes in CLASSES.items():
        labels, model = folder / bundle / "labels", folder / bundle / "model"
        numbers = {"csv": images / "index.csv", "classes": classes, "output": labels, **IMAGES}
        _run([sys.executable, str(ROOT / "scripts" / "prepare_masks.py")], numbers)
        own = {"dataset_dir": images, "label_dir": labels}
        training = {"pretrained": run / "pretraining" / "model.pt", "ckpt_dir": model, "learning_rate": rate}
        _bundle(bundle, ["train"], network, values | own | training | {"max_epochs": epochs})
        _evaluate(bundle, network, model / "model.pt", folder, values | own)
    print(f"Pictures: {folder}")


def _executed(run: Path, stage: str) -> dict[str, Any]:
    """The merged configuration of a stage of the demo."""
    content: dict[str, Any] = json.loads((run / "configs" / "executed" / f"{stage}.json").read_text())
    return content


def _evaluate(bundle: str, network: Path, checkpoint: Path, folder: Path, values: dict[str, Any]) -> None:
    scores = folder / bundle / "scores"
    _bundle(bundle, ["train", "evaluate"], network, values | {"checkpoint": checkpoint, "output_dir": scores})
    shutil.copyfile(scores / "overlays.png", folder / f"{bundle}.png")


def _bundle(bundle: str, configs: list[str], network: Path, values: dict[str, Any]) -> None:
    root = ROOT / "bundles" / bundle
    files = [str(root / "configs" / f"{name}.json") for name in configs]
    command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", str(root)]
    _run([*command, "--config_file", str([*files, str(network)])], values)


def _run(command: list[str], values: dict[str, Any]) -> None:
    arguments = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    if subprocess.run([*command, *arguments], check=False).returncode:
        raise InputError(f"This command failed: {' '.join([*command, *arguments])}")


if __name__ == "__main__":
    run_program(bundle_pictures)
