"""Views: the widgets and static text that display maps, calls and Functions in a notebook."""
