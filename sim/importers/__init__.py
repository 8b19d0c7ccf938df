"""Publishers' own layouts read into one compact file per data set; one publisher per module."""
