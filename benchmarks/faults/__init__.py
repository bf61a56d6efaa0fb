"""Whether operations find what goes wrong in a served chain, and say where."""
