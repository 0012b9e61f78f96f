"""Train, test and compare models: ``python run_recbole_mgr.py --model MGRLFpp --dataset Beauty``."""

import sys

from recbole_mgr.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
