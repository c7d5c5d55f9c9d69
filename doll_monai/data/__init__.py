"""Data sets on disk as datalists."""

from doll_monai.data.chexpert import chexpert_datalist, count_labels, patient_of, read_chexpert
from doll_monai.data.datalist import (
    SECTIONS,
    datalist_hash,
    load_datalist,
    load_if_given,
    load_sections,
    split_patients,
    write_datalist,
)
from doll_monai.data.film_dataset import FilmDataset
from doll_monai.data.folder import find_films
from doll_monai.data.label_files import label_file, write_label
from doll_monai.data.label_store import LabelStore
from doll_monai.data.masks import mask_records, parse_classes
from doll_monai.data.truth import Truth, records_with_truth

__all__ = [
    "SECTIONS",
    "FilmDataset",
    "LabelStore",
    "Truth",
    "chexpert_datalist",
    "count_labels",
    "datalist_hash",
    "find_films",
    "label_file",
    "load_datalist",
    "load_if_given",
    "load_sections",
    "mask_records",
    "parse_classes",
    "patient_of",
    "read_chexpert",
    "records_with_truth",
    "split_patients",
    "write_datalist",
    "write_label",
]
