"""Object proposals for detectors that do not compute their own: selective search, cache on disk, proposal files."""
