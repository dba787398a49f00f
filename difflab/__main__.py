"""`python -m difflab` is the command `difflab`."""

import sys

from difflab.errors import InputError
from difflab.runs import registry

if __name__ == "__main__":
    try:
        command = registry.command_line()
    except InputError as mistake:
        print(f"difflab: {mistake}", file=sys.stderr)
        sys.exit(2)
    command()
