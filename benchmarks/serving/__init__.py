"""`python -m benchmarks serving`: our layouts, a floor, a limit and stock Merlin Systems, interleaved in one run."""
