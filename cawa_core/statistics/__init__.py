"""Correlations and their nulls, overlaps and their chance level, intervals and standard errors."""
