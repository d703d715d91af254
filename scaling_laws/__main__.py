"""`python -m scaling_laws` is the command line."""

import sys

from scaling_laws.interface import main

sys.exit(main())
