"""The recipe that `visionkit fit` makes for a data card without one."""
