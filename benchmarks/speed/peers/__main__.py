"""``python -m benchmarks.speed.peers hand --task FOLDER --out FILE --rounds 5``."""

import sys
from importlib import import_module

PEERS = ("hand", "flower", "pfl", "centralised")

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PEERS:
        raise SystemExit(f"name one of {', '.join(PEERS)}")
    # By its import name, not as __main__: worker processes import what they are sent.
    import_module(f"benchmarks.speed.peers.{sys.argv[1]}").main(sys.argv[2:])
