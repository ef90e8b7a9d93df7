"""The hub: one process that decides which worker runs what, and remembers. It never opens a
payload.
"""
