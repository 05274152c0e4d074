"""R-CNN (Girshick et al. 2014) and its own parts."""
