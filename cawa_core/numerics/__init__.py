"""Arithmetic, batches, random numbers, threads, and copies between devices."""
