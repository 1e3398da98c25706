"""Audit folders: what they are about, how they grow, and whether they hold what they record."""
