"""Time grids: how the steps of a run are sampled for laws whose clock depends on parameters."""
