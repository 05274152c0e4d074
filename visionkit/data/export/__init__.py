"""Writers of datasets: one file per format."""
