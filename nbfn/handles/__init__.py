"""What handles can do: be called, scaled, varied. `Function`, `Cls` and their instances are made of these."""
