"""What each dimension of the latent code and of the class embedding does to images, channels and concepts."""
