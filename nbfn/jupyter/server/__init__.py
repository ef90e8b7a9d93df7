"""The Jupyter Server extension behind the sidebar.

It connects to the hub as a client and starts a hub only on request.
"""
