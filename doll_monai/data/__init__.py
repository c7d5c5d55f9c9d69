"""Data sets on disk as datalists, and the folder of labels."""

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.data.image_dataset import ImageDataset
from doll_monai.data.label_store import LabelStore

__all__ = ["GroundTruth", "ImageDataset", "LabelStore"]
