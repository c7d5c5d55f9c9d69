"""Measurements that stand beside a claim, run by ``scripts/benchmark_*.py``."""

from .attribution import AttributionBenchmark

__all__ = ["AttributionBenchmark"]
