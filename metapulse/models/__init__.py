"""Models as oracles: predict, loss, grad and Hessian-vector product over stacked parameters."""
