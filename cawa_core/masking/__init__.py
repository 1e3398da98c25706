"""Effects of masking, that is setting channels to zero, on a classifier's score (paper sec. 4.1)."""
