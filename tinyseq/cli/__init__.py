"""The commands of `python -m tinyseq`, one module each: its `add_arguments` and its `run`."""
