"""What a notebook shows of a map: its tally, its widget, its lines of text, and what stays when it is saved."""
