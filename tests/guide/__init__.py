"""How nbfn is used, one idea a test, on real processes."""
