"""``%%remote``: what a cell is, and how it becomes Functions, or a script that runs once."""
