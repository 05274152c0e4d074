"""Fitting of R-CNN's linear SVMs and box regression to region features after fine-tuning."""
