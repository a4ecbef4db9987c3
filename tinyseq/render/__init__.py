"""Pictures of computation graphs."""

from tinyseq.render.drawing import Drawing as Drawing, draw as draw
