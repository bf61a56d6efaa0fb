"""The simulated shop: tables with planted tastes, and the truth behind every click."""
