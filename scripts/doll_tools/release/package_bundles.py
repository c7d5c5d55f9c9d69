"""Write each bundle with its weights as a zip that a model zoo takes as it is.

Example:
    doll package bundles --run output/demo --output output/zoo

--run is the output of run_pipeline.py: its checkpoints go into the bundles, which get the network and the image size
that these were trained with. Single checkpoints: --weights lung_cxr_segmentation=output/lungs/model.pt, and, where its
network is not the bundle's own, --trained lung_cxr_segmentation=FILE, the merged configuration of its training
(monai.bundle run --save_execute_config FILE, with --tracking). Nothing is uploaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from doll_monai.utils.errors import InputError
from doll_monai.utils.progress import Bar
from doll_tools.arguments import list_argument, path_argument
from doll_tools.folders import bundles_folder

BUNDLES = bundles_folder()


def package(
    output: str,
    run: str | None = None,
    weights: str | Sequence[str] = (),
    trained: str | Sequence[str] = (),
    url: str | None = None,
    quiet: bool = False,
) -> None:
    """Package every bundle that there are weights of.

    Args:
        output: folder of the zips, of model_info.json (checksums) and of large_files.yml where a file is large.
        run: output folder of run_pipeline.py.
        weights: NAME=FILE,NAME=FILE: checkpoints of single bundles, instead of those of --run.
        trained: NAME=FILE,NAME=FILE: the merged configurations of their trainings.
        url: address where the zips will be published, for model_info.json and large_files.yml.
        quiet: show no progress.
    """
    from doll_tools.release.bundles import package_bundle, weights_of_run

    folder = path_argument(run)
    found: dict[str, tuple[Path, Path | None]] = dict(weights_of_run(folder)) if folder is not None else {}
    configurations = _named(trained, "trained")
    for name, path in _named(weights, "weights").items():
        found[name] = (path, configurations.get(name))
    if not found:
        raise InputError("There is nothing to package; give --run, or --weights NAME=FILE.")
    for name in sorted(found):
        if name not in _bundles():
            raise InputError(f"There is no bundle {name}; there are {', '.join(_bundles())}.")
    target = Path(str(output))
    bar = Bar(sorted(found.items()), name="bundles", unit="bundle", quiet=quiet)
    for package_file in [package_bundle(BUNDLES / name, path, target, config, url) for name, (path, config) in bar]:
        print(package_file)
    missing = [name for name in _bundles() if name not in found]
    if missing:
        print(f"Without weights, and so not packaged: {', '.join(missing)}.")


def _named(entries: str | Sequence[str], option: str) -> dict[str, Path]:
    named = {}
    for entry in list_argument(entries):
        name, equals, path = str(entry).partition("=")
        if not equals:
            raise InputError(f"--{option} is NAME=FILE, not '{entry}'.")
        named[name] = Path(path)
    return named


def _bundles() -> list[str]:
    return sorted(path.parent.parent.name for path in BUNDLES.glob("*/configs/metadata.json"))
