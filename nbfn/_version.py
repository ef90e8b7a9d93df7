"""The version of nbfn, in a module without imports, so that every other module can have it."""

__version__ = "0.1.0"
