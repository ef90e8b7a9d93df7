"""Displays of maps: statistics, the widget, lines of text, and static HTML for saved notebooks."""
