"""Models of the host's disks from recordings of their service times, and how far such a model is from a recording."""
