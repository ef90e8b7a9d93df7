"""Registration: the definitions and versions of Functions and classes, and references to registered ones."""
