"""What is done once before training: manifests of any folder, conversion, alignments, pitch ranges, pitch marks, packing."""
