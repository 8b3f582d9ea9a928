"""Where messages go: in process or to Ray workers, both real Flower grids."""
