"""Recommenders to beat: one algorithm a file behind `models.baselines.base.Baseline`."""
