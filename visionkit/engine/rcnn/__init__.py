"""What R-CNN fits after fine-tuning: linear SVMs and box regression on kept features."""
