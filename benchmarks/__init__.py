"""Measurements that take longer than tests; not part of the installed package."""
