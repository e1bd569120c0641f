"""A name or a YAML file to a model: its network, weights, labels and preprocessing."""
