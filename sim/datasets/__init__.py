"""Published data sets, one per file: how the publisher's layout is read, whom to cite, and the source it becomes."""
