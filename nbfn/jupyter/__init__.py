"""The Jupyter integration: the IPython extension with its magics, views and widgets, and the server extension.

IPython, ipywidgets and anywidget are imported here and nowhere else in nbfn. The displays of maps,
calls and Functions are ipywidgets, whose JavaScript anywidget loads; see `views.widget_base`.
"""
