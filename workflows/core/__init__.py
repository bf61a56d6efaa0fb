"""What every stage stands on: errors, the run directory, manifests, devices, the console."""
