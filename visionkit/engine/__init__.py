"""Around the tasks: runs, checkpoints and prediction."""
