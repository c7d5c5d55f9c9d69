"""``doll evaluate``: are labels worth pre-training on? Ground truth, chance, the location prior, random networks."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from doll_monai.data.datalist import SECTIONS, load_sections
from doll_monai.data.ground_truth import GroundTruth
from doll_monai.handlers.localization import CHANCE, LOCATION_PRIOR
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError, switch
from doll_monai.utils.json_object import read_json_object
from doll_tools.arguments import bundles_folder, list_argument
from doll_tools.evaluate.agreement import LIKENESS
from doll_tools.evaluate.decision import Decision, decide
from doll_tools.evaluate.page import page
from doll_tools.evaluate.scores import ALL, read_pairs, score_table
from doll_tools.intervals import RESAMPLES
from doll_tools.pipeline.record import opening
from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage, bundle_run

BUNDLE = "doll_cxr_label_generation"
QUALITY_CHECK = Path(__file__).with_name("quality_check.json")
"""What the check adds to the bundle's ``inference.json`` and ``evaluate.json``."""
LAYERS = {"resnet": "layer4", "densenet": "features.denseblock{blocks}", "efficientnet": "_conv_head"}
LAYERS |= {"pyramidclassifier": "decoder"}
"""The last convolutional layer of the classifier bundle's kinds of networks, which Grad-CAM takes."""
NOT_PASSED = 3
"""Exit code of a strict check that is not passed; a mistake in the arguments or data is 1."""
PAGE = "evaluation.md"


def evaluate_labels(
    chexpert: str,
    checkpoint: str,
    output: str,
    ground_truth: str | None = None,
    datalist: str | None = None,
    committee: str | None = None,
    image_size: int | Sequence[int] | None = None,
    sections: str | Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    strict: bool | str = False,
    tracking_uri: str | None = None,
    quiet: bool = False,
    **values: Any,
) -> None:
    """Label quality check: compare the labels' maps with ground truth, beside floors that know nothing of the image.

    Args:
        chexpert: folder of the images, in CheXpert's layout.
        checkpoint: the committee's model.pt.
        output: folder for evaluation.csv, evaluation.json, evaluation.md, pairs.csv and MLflow.
        ground_truth: CSV of masks or boxes; the first of truth.csv and boxes.csv that is in chexpert by default.
        datalist: the images' dataset.json; that in chexpert by default.
        committee: configuration with network_def, see doll package committee; the bundle's own by default.
        image_size: one number or two, as in label generation.
        sections: with commas between; all of the datalist by default. Their images are never pooled.
        resamples: draws of the 95 % intervals, 1000 or more.
        seed: of the intervals and the randomized networks.
        strict: exit with code 3 unless the labels of the images furthest from training pass.
        tracking_uri: of MLflow; SQLite in output by default.
        quiet: show no progress.
        values: any value of the label generation bundle, such as ig_steps or foreground_share.

    Raises:
        InputError: when an argument is wrong, the bundle's run fails, or no positive observation has ground truth.
    """
    strict = switch(strict, "strict")
    if resamples < 1000:
        raise InputError(f"resamples must be 1000 or more for a 95 % interval, not {resamples}.")
    root, folder = Path(str(chexpert)), Path(str(output)).resolve()
    regions = [root / "truth.csv", root / "boxes.csv"]
    given = {
        "chexpert": root,
        "datalist": datalist or root / "dataset.json",
        "checkpoint": checkpoint,
        "ground_truth": ground_truth or next((path for path in regions if path.is_file()), regions[0]),
        "committee": committee,
    }
    paths = {name: Path(str(path)).resolve() for name, path in given.items() if path is not None}
    for path in paths.values():
        if not path.exists():
            raise InputError(f"{path} does not exist; give the right path.")
    bundle = bundles_folder() / BUNDLE
    configs = [bundle / "configs" / "inference.json", bundle / "configs" / "evaluate.json", QUALITY_CHECK]
    configs += [paths["committee"]] if committee else []
    values["seed"] = seed
    if image_size is not None:
        values["image_size"] = [image_size] * 2 if isinstance(image_size, int) else image_size
    sources = _complete(values, configs)
    truth = GroundTruth(paths["ground_truth"], paths["chexpert"])
    names = list_argument(sections) if sections else [n for n in read_json_object(paths["datalist"]) if n in SECTIONS]
    loaded = load_sections(paths["datalist"], names, paths["chexpert"])
    records = {name: [record for record in loaded[name] if record["image"] in truth] for name in loaded}
    records = {name: records[name] for name in SECTIONS if records.get(name)}
    if not records:
        raise InputError(f"{paths['ground_truth']} has no image of the sections {', '.join(names)}.")

    files = {name: paths[name] for name in ("datalist", "checkpoint", "ground_truth")}
    own = {"dataset_dir": paths["chexpert"], "output_dir": folder / "scores", "sections": list(records)}
    command = bundle_run(configs, bundle, **own, **files, **values)
    tables = [folder / "scores" / "localization.csv", folder / "scores" / "agreement.csv"]
    stage = Stage("score_maps", command, [*configs, *files.values()], folder / "scores", tables, bundle=bundle)
    runner = Runner(folder, folder / "mlruns", tracking_uri, quiet)
    runner.run([stage], f"Label quality check. {opening(folder / PAGE)}")
    pairs = read_pairs(folder / "scores", records, truth)
    if pairs.empty:
        raise InputError("{ground_truth} has no observation that is positive in {datalist}.".format(**paths))
    table = score_table(pairs, sources, resamples, seed)
    decisions = [decide(pairs, name, resamples, seed) for name in SECTIONS if name in set(pairs["section"])]
    figures: dict[str, Any] = {
        "settings": {name: str(path) for name, path in paths.items()} | values | {"resamples": resamples},
        "decisions": [asdict(one) | {"failures": one.failures, "passed": one.passed} for one in decisions],
        "scores": table.to_dict("records"),
    }
    figures = json.loads(json.dumps(figures), parse_constant=lambda _: None)  # JSON has no NaN
    contents = {
        "pairs.csv": pairs.to_csv(index=False),
        "evaluation.csv": table.round(5).to_csv(index=False),
        "evaluation.json": json.dumps(figures, indent=2) + "\n",
        PAGE: page(table, decisions),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content.encode())
    runner.log_metrics(_metrics(table, decisions), [folder / name for name in contents])
    print(f"{contents[PAGE]}\n{folder / PAGE}")
    if strict and not decisions[-1].passed:
        sys.exit(NOT_PASSED)


def gradcam_layer(definition: Mapping[str, Any]) -> str:
    """The last convolutional layer of a member; ``InputError`` when it is not of the classifier bundle's kinds."""
    kind = str(definition.get("_target_", "")).rpartition(".")[2].lower()
    for start, layer in LAYERS.items():
        if kind.startswith(start):
            return layer.format(blocks=len(definition.get("block_config", range(4))))
    raise InputError(f"The layer that Grad-CAM takes of '{kind}' is not known; give --gradcam_layers, one a member.")


def _complete(values: dict[str, Any], configs: Sequence[Path]) -> list[str]:
    """Check values for the bundle and add Grad-CAM's layers; the names of all sources that are scored."""
    merged: dict[str, Any] = {}
    for path in configs:
        merged |= read_json_object(path)
    for name in values:
        if name.partition("::")[0] not in merged:
            raise InputError(f"The bundle {BUNDLE} has no value '{name}'; see the settings in its README.")
    members = merged["network_def"].get("members") or []
    if not members:
        raise InputError(f"The network_def of {configs[-1]} has no members; see doll package committee.")
    if "gradcam_layers" not in values:
        values["gradcam_layers"] = [gradcam_layer(member) for member in members]
    layers = values["gradcam_layers"]
    if isinstance(layers, (list, tuple)) and len(layers) != len(members):
        raise InputError(f"gradcam_layers names {len(layers)} layers, but the committee has {len(members)}.")
    numbered = [f"member_{number}" for number in range(len(members))]
    return ["consensus", *numbered, "gradcam", "randomized", CHANCE, LOCATION_PRIOR]


def _metrics(table: pd.DataFrame, decisions: Sequence[Decision]) -> dict[str, float]:
    """The figures of all observations together, for MLflow."""
    metrics = {f"{decision.section}.passed": float(decision.passed) for decision in decisions}
    for row in table[table["observation"] == ALL].to_dict("records"):
        for name in ("iou", "hit", "difference", "completeness_median", "completeness_p95", *LIKENESS):
            if not math.isnan(row[name]):
                metrics[f"{row['section']}.{row['source']}.{name}"] = row[name]
    return metrics
