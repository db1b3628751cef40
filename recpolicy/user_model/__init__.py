"""Models what a user takes next: calibrated chances of every item, from any recommenders blended."""
