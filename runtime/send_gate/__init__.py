"""The send gate where it decides: in batches, and as the model `cascade_gate` of a server."""
