"""Kill the shipper at random, as often as one likes: `python -m tests.crash --store opensearch --kills 200 -- --ordered`."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests import servers
from tests.crash.chaos import Chaos
from tests.crash.collector import Collector


def main() -> int:
    """Run it and print the figures; 1 where something was lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--store", choices=(*servers.KINDS, "collector"), default="opensearch")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("options", nargs="*", help="more for `shipper run`")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="shipper-crash-"))
    with Collector(folder) if options.store == "collector" else servers.start(options.store) as store:
        chaos = Chaos(store, folder, f"t{secrets.token_hex(4)}", options.seed)
        chaos.say, chaos.options = lambda text: print(text, flush=True), tuple(options.options)
        try:
            chaos.run(options.kills)
        except AssertionError as exc:
            print(f"{exc}\nsee {folder}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
