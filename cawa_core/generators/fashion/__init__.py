"""The bundled generator ``fashion-biggan``."""
