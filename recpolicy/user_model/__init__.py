"""Models the items that a user takes next: calibrated chances of every item, blended from several recommenders."""
