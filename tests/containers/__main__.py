"""`make containers`: the proof, told line by line; exit code 0 when it holds, 1 when not, 2 when a part is missing."""

from __future__ import annotations

import sys

from tests import servers
from tests.containers import engine, proof


def main() -> int:
    """Run the proof and return the exit code."""
    reason = engine.missing() or servers.available("elasticsearch")
    if reason:
        print(reason, file=sys.stderr)
        return 2
    try:
        proof.prove(lambda text: print(text, flush=True))
    except (engine.Failed, servers.Missing, proof.Disproved) as exc:
        print(f"FAILED: {exc}", file=sys.stderr)
        return 1
    print("proved")
    return 0


if __name__ == "__main__":
    sys.exit(main())
