"""The sample rate of all models and of all audio behind its reading."""

SAMPLE_RATE = 16000  # Hz
