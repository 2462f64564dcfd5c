"""Two or more runs beside each other: what differs, by how much, and how sure that is. Only tables are read."""
