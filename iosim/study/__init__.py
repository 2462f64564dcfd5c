"""Studies: many scenarios that differ from a base, each with replications, and what can be said of them."""
