"""Output for people: tables of metrics and images with predictions drawn into them."""
