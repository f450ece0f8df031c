"""The shipper is killed: at every place where the order of effects matters, and at random under load while stores come and go."""
