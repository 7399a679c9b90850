"""Data sets by name: bundled with scikit-learn, or CSV and NPZ files of the allowed directory.

numpy and scikit-learn are imported when the first data set is loaded, never before: the
runtime itself needs the standard library alone.
"""

from .catalogue import DataSets
from .table import Dataset, Split

__all__ = ["DataSets", "Dataset", "Split"]
