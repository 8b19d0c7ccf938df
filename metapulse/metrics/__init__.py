"""Metrics that a run may report besides those that it always does (``[evaluation] metrics``).

A metric is one number a client, from what the client's model answered to its query. Ours are computed for a stack of
clients at once (``metapulse.metrics.table``); a function of one's own is called client by client
(``metapulse.metrics.own``).
"""
