"""Reports of results: a page for the browser and a text for the terminal, from the tables of a run alone."""
