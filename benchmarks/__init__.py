"""Measured speed: `python -m benchmarks`, its result files and the page that they make."""
