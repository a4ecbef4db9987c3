"""What the pictures look like: a colour for each kind of node, widths of text, and the scale of gradients.

Kinds are told apart by outline and text as well as by colour, and gradients by width and by the number in their
tooltip, so that a picture reads in grey, too.
"""

import math
from dataclasses import dataclass

FONT = "Helvetica,Arial,sans-serif"
SIZE = 11.0  # of a node's first line, in points
SMALL = 8.5  # of the lines below it
LEVELS = 8  # colours on the scale of gradients
DECADES = 8  # powers of ten that the scale covers at most


@dataclass(frozen=True, slots=True)
class Paint:
    """Fill, outline and text of one kind of node: in light and in dark surroundings."""

    fill: str
    line: str
    dark_fill: str
    dark_line: str
    meaning: str


KINDS = {
    "weight": Paint("#e2f1da", "#5f9a4a", "#20351a", "#7fb869", "weight"),
    "input": Paint("#e6ebf2", "#7788a0", "#28303c", "#93a4bb", "input"),
    "constant": Paint("#ffffff", "#9aa0a8", "#1b1e23", "#7b828c", "constant, without gradient"),
    "state": Paint("#d3f1ec", "#2f9488", "#133733", "#4dbcae", "state"),
    "gate": Paint("#fbdde4", "#c4566f", "#43202a", "#e2839a", "gate or named value"),
    "product": Paint("#d7e7f8", "#3f7fbb", "#1a3049", "#6da9e0", "matrix product"),
    "arithmetic": Paint("#fdf0cd", "#bf9122", "#3c3215", "#dcb655", "arithmetic"),
    "function": Paint("#eae0f6", "#8361ad", "#302443", "#ac8cd4", "function"),
    "reduction": Paint("#fde2d1", "#c9703a", "#43291a", "#e59a68", "reduction, loss"),
    "shape": Paint("#f2f2f2", "#a5a5a5", "#2a2a2a", "#858585", "rearrangement"),
    "result": Paint("#f9d3cf", "#b3443a", "#4a1d19", "#e57d73", "result"),
}

# Marks that are not a matter of colour, and what the legend says of them
MARKS = {
    "cut": "cut: detached, no gradient flows back",
    "released": "what it saved was released by backward",
}

# From small gradients to large ones, for light and for dark surroundings
RAMP = ("#b9c6d8", "#93b3d6", "#6b9bd2", "#7a83c6", "#a05fae", "#c04486", "#d33357", "#b81426")
DARK_RAMP = ("#3f4c5e", "#3f638c", "#4a7fc0", "#7377cf", "#a35fc0", "#d0559b", "#ee5a74", "#ff8a80")
INK = ("#1c2430", "#1c2430", "#1c2430", "#fff", "#fff", "#fff", "#fff", "#fff")  # of text on RAMP
WIDTHS = tuple(0.9 + 0.38 * i for i in range(LEVELS))
PLAIN, DARK_PLAIN = "#5d6673", "#8b95a3"

# Widths of Helvetica's letters, in thousandths of the size (Adobe's metrics), where they differ much from 556
_WIDTH = dict.fromkeys("ijl'|", 222) | dict.fromkeys(" ft.,:;/\\!()[]I·", 278) | dict.fromkeys("r-`", 333)
_WIDTH |= (
    dict.fromkeys("mM", 833)
    | dict.fromkeys("wHNUCDRG", 722)
    | dict.fromkeys("ABEKPSVXY", 667)
    | dict.fromkeys("W", 944)
)
_WIDTH |= (
    dict.fromkeys("cksvxyzJ", 500)
    | dict.fromkeys("+=<>−×÷σ", 584)
    | dict.fromkeys("@∂→…", 1000)
    | dict.fromkeys("OQ", 778)
)


def text_width(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """Return about how wide `text` is drawn, in points.

    >>> text_width("W") > text_width("i")
    True
    """
    return sum(_WIDTH.get(c, 580) for c in text) * size / 1000 * (1.07 if bold else 1.0)


def mixed(color: str, part: float) -> str:
    """Return `part` of `color` on white.

    >>> mixed("#000000", 0.5)
    '#808080'
    """
    channels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (c - 255) * part):02x}" for c in channels)


def clean(text: str) -> str:
    r"""Return `text` without characters that cannot be shown, which XML forbids.

    >>> clean("a\x00b\n")
    'a�b�'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


def clipped(text: str, most: int) -> str:
    """Return `text` with its middle left out if it is longer than `most`.

    >>> clipped("weight_ih_l0_reverse", 11)
    'weigh…verse'
    """
    if len(text) <= most:
        return text
    tail = most // 2
    return f"{text[: most - tail - 1]}…{text[-tail:]}"


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as pictures show it.

    >>> shape_text((4, 16)), shape_text(())
    ('4×16', '')
    """
    return "×".join(map(str, shape))


def number_text(x: float) -> str:
    """Return a number with three digits.

    >>> number_text(0.012345), number_text(2.5), number_text(0.0), number_text(1.2e-7)
    ('0.0123', '2.5', '0', '1.2e-07')
    """
    return f"{x:.3g}"


@dataclass(frozen=True, slots=True)
class Scale:
    """The logarithmic scale on which gradients become colours and widths: `decades` powers of ten up to `top`."""

    top: int = 0
    decades: int = DECADES

    @classmethod
    def of(cls, sizes: list[float]) -> "Scale":
        """Return the scale that ends above the largest of `sizes` and reaches the smallest, within reason.

        >>> Scale.of([0.02, 0.5, 0.0]), Scale.of([1.0, 1e-30])
        (Scale(top=0, decades=4), Scale(top=0, decades=8))
        """
        logs = [math.log10(s) for s in sizes if 0 < s < math.inf] or [0.0]
        top = math.ceil(max(logs))
        return cls(top, 4 if top - min(logs) <= 4 else DECADES)

    def level(self, size: float) -> int:
        """Return the step of the scale for a gradient of `size`: 0 for the smallest.

        >>> Scale(0).level(1.0), Scale(0).level(1e-8), Scale(0).level(0.0)
        (7, 0, 0)
        """
        if not size > 0:
            return 0
        if size == math.inf:
            return LEVELS - 1
        part = (math.log10(size) - self.top + self.decades) / self.decades
        return min(LEVELS - 1, max(0, int(part * LEVELS)))
