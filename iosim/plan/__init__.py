"""Capacity plans: the load that just meets the targets, what breaks first there, and what change buys most."""
