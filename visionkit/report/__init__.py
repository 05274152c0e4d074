"""Tables of metrics, and images with drawn predictions."""
