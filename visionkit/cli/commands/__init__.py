"""One file per command: its arguments, and the checks that need no torch. The work is done by the modules beside."""
