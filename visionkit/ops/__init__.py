"""Pure tensor functions: boxes, anchors, matching."""
