"""What an App is made of: its decorators, its runs, its deployments, what `nbfn run` starts."""
