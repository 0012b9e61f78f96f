"""``python -m recbole_mgr <command>``, the same as ``recbole-mgr <command>``."""

import sys

from recbole_mgr.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
