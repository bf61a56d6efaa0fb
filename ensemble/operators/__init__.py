"""The steps as Merlin Systems operators, and the runtime that lays their graph out as a model repository."""
