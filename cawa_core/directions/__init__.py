"""Directions in the latent code and the class embedding that steer a concept."""
