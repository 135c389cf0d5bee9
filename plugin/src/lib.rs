//! `baton_eks.wasm`: who can do what in an Amazon EKS cluster.
