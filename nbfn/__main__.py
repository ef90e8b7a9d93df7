"""``python -m nbfn`` is the ``nbfn`` command."""

from __future__ import annotations

import sys

from nbfn.cli import main

if __name__ == "__main__":
    sys.exit(main())
