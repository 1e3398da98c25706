"""Networks that label every pixel of an image."""
