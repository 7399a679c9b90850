"""Data sets by name: bundled with scikit-learn, or CSV, NPZ and Parquet files.

numpy, scikit-learn and pyarrow are imported when the first data set is loaded, never before:
the runtime itself needs the standard library alone.
"""

from .catalogue import DataSets
from .content import Located
from .table import Dataset, Split

__all__ = ["DataSets", "Dataset", "Located", "Split"]
