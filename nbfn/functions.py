"""`modal.functions`: where Modal's programs of some age import these from."""

from __future__ import annotations

from nbfn.call import FunctionCall
from nbfn.function import Function
from nbfn.types import FunctionStats

__all__ = ["Function", "FunctionCall", "FunctionStats", "gather"]

gather = FunctionCall.gather
