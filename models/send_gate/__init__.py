"""The send gate: learns from a log with known probabilities when not to send."""
