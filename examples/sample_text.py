"""Write text with the model that `python -m tinyseq demo` has saved.

Run: python -m tinyseq demo && python examples/sample_text.py
"""

import argparse
from pathlib import Path

import tinyseq as ts
from tinyseq.cli.characters import CharacterModel, written
from tinyseq.data import Vocabulary


def main():
    """Load the model, and print what it writes at three temperatures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("tinyseq-demo"), help="where the demo saved it")
    parser.add_argument("--length", type=int, default=300, help="characters to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="write 40 characters only")
    options = parser.parse_args()
    path = options.folder / "model.safetensors"
    if not path.exists():
        raise SystemExit(f"there is no {path}; make it with: python -m tinyseq demo --out {options.folder}")

    saved = ts.load(path)
    config = saved["config"]
    vocabulary = Vocabulary(config["characters"])
    model = CharacterModel(len(vocabulary), config["hidden_size"], config["cell"])
    model.load_state_dict(saved["model"])
    length = 40 if options.short else options.length
    for temperature in (0.3, 0.7, 1.0):  # low is repetitive and correct, high is varied and wrong
        print(f"\n-- temperature {temperature}\n")
        print(written(model, vocabulary, length, options.seed, temperature=temperature, device="cpu"))


if __name__ == "__main__":
    main()
