"""Directions in latent code and class embedding that steer a concept, how they are found, and what they do."""
