"""Calibration: recordings of a host and of its disks in, cost profiles and disk models out."""
