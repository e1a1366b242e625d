"""Runs gopro-dl against another address than GoPro's: `peer_runner.py URL sync …`.

Run by the peer's own interpreter. It knows no option for the address, so the one constant that holds it is replaced,
and nothing else.
"""

import sys

from gopro_dl import api, cli  # type: ignore[import-not-found]

if __name__ == "__main__":
    api.API_HOST = sys.argv.pop(1)
    sys.exit(cli.main())
