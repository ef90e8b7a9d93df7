"""The magics: ``%%remote``, ``%remote``, ``%fn``, ``%nbfn from``, and their completion."""
