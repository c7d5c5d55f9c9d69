"""Data sets on disk as datalists, and the folder of labels."""

from doll_monai.data.datalist import datalist_hash, load_datalist, load_if_given, load_sections
from doll_monai.data.folder import find_films
from doll_monai.data.ground_truth import Truth
from doll_monai.data.image_dataset import FilmDataset
from doll_monai.data.label_store import LabelStore

__all__ = [
    "FilmDataset",
    "LabelStore",
    "Truth",
    "datalist_hash",
    "find_films",
    "load_datalist",
    "load_if_given",
    "load_sections",
]
