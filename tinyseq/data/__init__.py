"""Data for training: text and vocabularies, streams for truncated BPTT, datasets, and count models to beat."""

from tinyseq.data.counts import ngram_bits as ngram_bits
from tinyseq.data.dataset import (
    DataLoader as DataLoader,
    Dataset as Dataset,
    Subset as Subset,
    TensorDataset as TensorDataset,
    default_collate as default_collate,
)
from tinyseq.data.text import (
    BPTTBatches as BPTTBatches,
    Vocabulary as Vocabulary,
    english_text as english_text,
    streams as streams,
)
