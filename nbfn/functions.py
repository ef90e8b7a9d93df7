"""`modal.functions`: the module that older Modal programs import these from."""

from __future__ import annotations

from nbfn.api.call import FunctionCall
from nbfn.api.function import Function
from nbfn.types import FunctionStats

__all__ = ["Function", "FunctionCall", "FunctionStats", "gather"]

gather = FunctionCall.gather
