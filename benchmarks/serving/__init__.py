"""`python -m benchmarks serving`: the layouts, a floor, a limit and stock Merlin Systems, interleaved in one run."""
