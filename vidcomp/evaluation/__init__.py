"""What a model costs: parameters, multiply-accumulates, time, memory, energy; and strategies side by side."""

from vidcomp.evaluation.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
