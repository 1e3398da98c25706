"""Effects of single dimensions of the latent code and of the class embedding on channels and concepts."""
