"""Reading files that others wrote, within limits, and keeping them compactly: what data sets and ``own`` rest on."""
