"""`cascade why` beside brute force over the artefacts of a run."""
