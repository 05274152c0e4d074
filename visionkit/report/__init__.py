"""Tables of metrics, images with drawn predictions, and HTML pages."""
