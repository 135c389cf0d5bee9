//! AWS credentials, signatures and EKS tokens. None of it is reachable by a
//! plugin.
