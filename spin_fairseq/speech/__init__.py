"""What training and extraction read: manifests, audio, archives, labels, pitch ranges, pitch marks. No fairseq."""
