"""The bundled generators: small BigGANs, and the network that both share."""
