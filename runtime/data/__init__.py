"""Data sets by name, checked and scaled: ``load_data("digits")`` is ``Data`` with a ``train`` and a ``test`` split."""

from runtime.data.record import Data, DataError, Split
from runtime.data.registry import DATA_SETS, load_data
from runtime.data.standardise import standardise

__all__ = ["DATA_SETS", "Data", "DataError", "Split", "load_data", "standardise"]
