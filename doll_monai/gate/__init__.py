"""A quality gate before anybody pre-trains: do the labels know more than chance, and is it what the networks learnt?"""

from .bootstrap import mean_interval
from .pairs import ALL, read_pairs
from .program import Evaluation
from .request import EvaluationRequest
from .scores import score_table
from .verdict import Verdict, judge

__all__ = [
    "ALL",
    "Evaluation",
    "EvaluationRequest",
    "Verdict",
    "judge",
    "mean_interval",
    "read_pairs",
    "score_table",
]
