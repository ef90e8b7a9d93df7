"""The Jupyter Server half of the sidebar: a client of the hub like any other.

It knows Jupyter Server and `nbfn.client`; it starts a hub only when somebody asks it to.
"""
