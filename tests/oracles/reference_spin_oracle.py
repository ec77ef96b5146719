"""What the reference's Spin computes behind its encoder, frame by frame, in float64."""

import torch


def reference_spin_oracle(features, head, codebook, temperature=0.1, l2_norm=True):
    """features: (frames, D); head: [(weight, bias), ...]; codebook: (K, d), as stored.

    -> embeddings (frames, d), logits (frames, K), codes (frames,).
    """
    embeddings, logits, codes = [], [], []
    for frame in features.double():
        for index, (weight, bias) in enumerate(head):
            frame = weight.double() @ frame + bias.double()
            if index < len(head) - 1:
                frame = torch.where(frame > 0, frame, 0.0)
        if l2_norm:
            frame = frame / frame.square().sum().sqrt()
        scores = torch.stack([(row.double() * frame).sum() for row in codebook]) / temperature
        embeddings.append(frame)
        logits.append(scores)
        codes.append(scores.argmax())
    return torch.stack(embeddings), torch.stack(logits), torch.stack(codes)
