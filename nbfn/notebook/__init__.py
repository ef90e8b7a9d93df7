"""nbfn in IPython: ``%load_ext nbfn``, ``%%remote``, output under the right cell, progress of maps.

IPython, ipywidgets and anywidget are known here and nowhere else in nbfn.
"""
