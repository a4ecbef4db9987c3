"""`python -m tinyseq`: the demo, pictures of your code, what is installed, a check of every operation here."""

import argparse
import sys
from collections.abc import Sequence

from tinyseq.cli import demo, draw, info, selftest
from tinyseq.errors import TinyseqError

COMMANDS = {
    "demo": (demo, "train a character model on English text, in about a minute"),
    "draw": (draw, "draw what a function or a module in a Python file computes"),
    "info": (info, "print versions and what is missing, with the command that installs it"),
    "selftest": (selftest, "check the gradients of every operation on this machine"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 for success, 1 for a failed check, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="python -m tinyseq", description="Recurrent models in Python.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, says) in COMMANDS.items():
        command = commands.add_parser(
            name, help=says, description=module.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, name=name)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (TinyseqError, OSError) as error:
        print(f"python -m tinyseq {options.name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
