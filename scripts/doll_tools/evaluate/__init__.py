"""A quality gate before anybody pre-trains: do the labels know more than chance, and is it what the networks learnt?"""

from doll_monai.metrics.intervals import crossed_interval
from doll_tools.evaluate.pairs import ALL, read_pairs
from doll_tools.evaluate.program import Evaluation
from doll_tools.evaluate.request import EvaluationRequest
from doll_tools.evaluate.scores import score_table
from doll_tools.evaluate.verdict import Verdict, judge

__all__ = [
    "ALL",
    "Evaluation",
    "EvaluationRequest",
    "Verdict",
    "crossed_interval",
    "judge",
    "read_pairs",
    "score_table",
]
