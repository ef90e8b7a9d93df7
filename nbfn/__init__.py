"""nbfn: Functions for notebooks."""
