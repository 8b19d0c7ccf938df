"""metapulse: federated meta-learning for wearables."""
