"""`modal.functions`: where Modal's programs of some age import these from."""

from __future__ import annotations

from nbfn.api.call import FunctionCall
from nbfn.api.function import Function
from nbfn.types import FunctionStats

__all__ = ["Function", "FunctionCall", "FunctionStats", "gather"]

gather = FunctionCall.gather
