"""How this process talks to the hub: where it is found, the one connection to it, and what is heard over it."""
