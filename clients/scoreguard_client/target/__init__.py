"""What is attacked: images, and chains of a deployed metric."""
