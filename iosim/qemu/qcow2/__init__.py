"""The qcow2 format: the image's metadata and its caches (pure), and the format node that does their I/O."""
