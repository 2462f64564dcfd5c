"""Sensitivity: which cost of the profile matters to a scenario, and is worth measuring better (docs/sensitivity.md)."""
