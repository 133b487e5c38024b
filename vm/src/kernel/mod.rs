//! Kernels: what a spec means, where it comes from, what is kept of it.
