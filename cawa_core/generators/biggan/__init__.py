"""The BigGAN family: the original BigGAN and BigGAN-deep, with exact and fast passes under masks."""
