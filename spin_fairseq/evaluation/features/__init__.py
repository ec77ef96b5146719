"""The features and units that are evaluated: of MFCCs, encoders and Spin models, cached on disk."""
