"""The fairseq dataset of two views, and its batches."""
