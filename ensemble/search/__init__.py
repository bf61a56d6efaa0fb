"""Hyper-parameter search over a stage's config keys: trials are processes, their epochs decide who goes on."""
