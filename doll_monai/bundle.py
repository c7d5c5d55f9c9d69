"""What the bundles' JSON calls by name: ``"imports": ["$import doll_monai.bundle as doll"]``, then ``$doll.run(...)``.

Functions that check a user's data or values are ``explained``: ``python -m monai.bundle run`` ends with their sentence.
"""

from __future__ import annotations

from ignite.engine import Engine

from doll_monai import findings
from doll_monai.data import datalist, ground_truth
from doll_monai.data.label_store import LabelStore
from doll_monai.handlers import engine, localization, tracking
from doll_monai.networks import committee, parameters, weights
from doll_monai.transforms import observations
from doll_monai.utils import errors, processes
from doll_monai.utils.errors import explained

FINDINGS = findings.FINDINGS
artifact_folder = tracking.artifact_folder
bundle_name = tracking.bundle_name
bundle_task = tracking.bundle_task
check_observations = explained(observations.check_observations)
consensus_keys = committee.consensus_keys
datalist_hash = explained(datalist.datalist_hash)
default_tracking_uri = tracking.default_tracking_uri
describe_network = parameters.describe_network
every = engine.every
executed_configuration = tracking.executed_configuration
file_hash = explained(weights.file_hash)
find_images = explained(datalist.find_images)
finish_labels = explained(LabelStore.finish)
image_meta = engine.image_meta
join_processes = explained(processes.join_processes)
leave_processes = processes.leave_processes
load_backbone = explained(weights.load_backbone)
load_datalist = explained(datalist.load_datalist)
load_imagenet = explained(weights.load_imagenet)
load_pretrained = explained(weights.load_pretrained)
load_sections = explained(datalist.load_sections)
load_weights = explained(weights.load_weights)
localization_sources = localization.localization_sources
member_keys = committee.member_keys
parameter_groups = explained(parameters.parameter_groups)
predictions = engine.predictions
process_count = processes.process_count
process_device = processes.process_device
process_rank = processes.process_rank
records_with_ground_truth = explained(ground_truth.records_with_ground_truth)
share_network = processes.share_network
switch = explained(errors.switch)
with_label_shares = localization.with_label_shares
with_masks = explained(datalist.with_masks)


@explained
def run(workflow: Engine) -> None:
    """Run a trainer or an evaluator."""
    workflow.run()
