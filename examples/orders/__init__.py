"""An order service: what customers are told of their orders. It folds events, and nothing else."""
