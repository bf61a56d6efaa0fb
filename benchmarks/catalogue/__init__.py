"""`python -m benchmarks catalogue`: what each cost of a served chain grows like with the catalogue."""
