"""The target of attacks: images, and chains of a deployed metric."""
