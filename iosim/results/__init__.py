"""What comes out of a run: tables, summary, pictures, terminal. Nothing here imports SimPy."""
