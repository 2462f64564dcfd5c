"""The analytic companion of a run: what operational laws, asymptotic bounds and mean-value analysis say of it.

Everything is computed from the tables of a result; nothing is simulated. docs/analytic.md has the formulas.
"""
