"""What a model is worth and what it costs: accuracy, parameters, multiply-accumulates, time, memory, energy."""

from vidcomp.evaluation.comparison import Comparison
from vidcomp.evaluation.evaluator import compare, evaluate

__all__ = ["Comparison", "compare", "evaluate"]
