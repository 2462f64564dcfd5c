"""Judging the prediction of a whole host: a recorded workload, simulated with a profile, beside what was measured."""
