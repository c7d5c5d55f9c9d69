"""The page and the figures of a finished pipeline, from the files in its folder and its MLflow runs."""

from doll_monai.report.page import write_report
from doll_monai.report.summary import summarise, write_summary

__all__ = ["summarise", "write_report", "write_summary"]
