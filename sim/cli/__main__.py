"""``python -m metapulse.sim.cli``: the same as ``metapulse``."""

import sys

from metapulse.sim.cli import main

sys.exit(main())
