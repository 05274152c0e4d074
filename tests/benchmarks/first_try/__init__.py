"""First try: `visionkit fit CARD --minutes N` on small real datasets, against plain scripts and hand-made recipes."""
