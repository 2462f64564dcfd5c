"""The compiled engine: the model's own functions, compiled ahead of a run."""
