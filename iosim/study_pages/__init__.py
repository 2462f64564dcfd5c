"""Pages of studies: sweeps, sensitivity studies and plans, each from the tables in its folder alone."""
