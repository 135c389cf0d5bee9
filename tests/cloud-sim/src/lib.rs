//! AWS (STS, IAM, EKS) and Kubernetes as one simulated cloud.
