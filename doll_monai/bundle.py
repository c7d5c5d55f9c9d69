"""What the bundles' JSON calls by name: ``"imports": ["$import doll_monai.bundle as doll"]``, then ``$doll.run(...)``.

Functions that check a user's data or values are ``explained``: ``python -m monai.bundle run`` ends with their sentence.
"""

from __future__ import annotations

from ignite.engine import Engine

from doll_monai.data import datalist, ground_truth
from doll_monai.data.label_store import LabelStore
from doll_monai.findings import FINDINGS
from doll_monai.handlers.engine import every, image_meta
from doll_monai.handlers.localization import localization_sources, with_label_shares
from doll_monai.handlers.tracking import (
    artifact_folder,
    bundle_name,
    bundle_task,
    default_tracking_uri,
    executed_configuration,
)
from doll_monai.networks import parameters, weights
from doll_monai.networks.committee import consensus_keys, member_keys
from doll_monai.networks.parameters import describe_network
from doll_monai.transforms import observations
from doll_monai.utils import errors, processes
from doll_monai.utils.errors import explained
from doll_monai.utils.processes import (
    leave_processes,
    process_count,
    process_device,
    process_rank,
    share_network,
)

__all__ = [
    "FINDINGS",
    "artifact_folder",
    "bundle_name",
    "bundle_task",
    "check_observations",
    "consensus_keys",
    "datalist_hash",
    "default_tracking_uri",
    "describe_network",
    "every",
    "executed_configuration",
    "file_hash",
    "find_images",
    "finish_labels",
    "image_meta",
    "join_processes",
    "leave_processes",
    "load_backbone",
    "load_datalist",
    "load_if_given",
    "load_pretrained",
    "load_sections",
    "load_weights",
    "localization_sources",
    "member_keys",
    "parameter_groups",
    "process_count",
    "process_device",
    "process_rank",
    "records_with_ground_truth",
    "run",
    "share_network",
    "switch",
    "with_label_shares",
]

check_observations = explained(observations.check_observations)
datalist_hash = explained(datalist.datalist_hash)
file_hash = explained(weights.file_hash)
find_images = explained(datalist.find_images)
finish_labels = explained(LabelStore.finish)
join_processes = explained(processes.join_processes)
load_backbone = explained(weights.load_backbone)
load_datalist = explained(datalist.load_datalist)
load_if_given = explained(datalist.load_if_given)
load_pretrained = explained(weights.load_pretrained)
load_sections = explained(datalist.load_sections)
load_weights = explained(weights.load_weights)
parameter_groups = explained(parameters.parameter_groups)
records_with_ground_truth = explained(ground_truth.records_with_ground_truth)
switch = explained(errors.switch)


@explained
def run(engine: Engine) -> None:
    """Run a trainer or an evaluator."""
    engine.run()
