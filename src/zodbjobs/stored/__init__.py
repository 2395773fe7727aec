"""Every persistent class. Module paths and attribute names here are in people's databases."""
