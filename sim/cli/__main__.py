"""``python -m sim.cli``: the same as ``metapulse``."""

import sys

from sim.cli import main

sys.exit(main())
