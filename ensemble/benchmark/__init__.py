"""Measured speed: `cascade benchmark`, its result files and the page that they make."""
