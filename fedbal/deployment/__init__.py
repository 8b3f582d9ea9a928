"""A scenario on real machines: keys and certificates, coordinator, sites, device check."""
