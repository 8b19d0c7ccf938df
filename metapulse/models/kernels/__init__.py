"""Layers with hand-written derivatives: values, gradients and Hessian-vector products without autograd."""
