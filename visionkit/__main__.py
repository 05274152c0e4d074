"""`python -m visionkit`."""

import sys

from visionkit.cli.main import main

sys.exit(main())
