"""From the words of a command line to a checked recipe and the objects it describes."""
