"""How a Function or a class becomes known to the hub: its definition, its versions, where its name is at home."""
