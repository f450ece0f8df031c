import sys

from jsonlog.cli import main

sys.exit(main())
