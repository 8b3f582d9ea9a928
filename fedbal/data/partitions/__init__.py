"""Partitions: how the training rows are divided over clients, one way a file."""
