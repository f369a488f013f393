"""``python -m ray_mentor``: the command line."""

import sys

from ray_mentor.cli import main

sys.exit(main())
