"""The line magics: ``%remote``, ``%fn``, ``%nbfn from``, and what they complete to."""
