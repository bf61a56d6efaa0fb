"""Stage 3: artefacts -> Merlin Systems graph -> Triton model repository; evaluation, server and client."""
