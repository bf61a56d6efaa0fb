"""Classifiers of labelled events that the ranker is measured against, one a file behind `models.classifiers.base`."""
