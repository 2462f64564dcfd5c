"""The guest: its virtual CPU's instructions, its kernel's block layer, its disk driver."""
