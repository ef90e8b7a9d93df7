"""A seeded run in which processes are killed and stopped at random while calls are made."""
