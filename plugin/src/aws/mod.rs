//! EKS and IAM answers as this connector needs them.

pub mod arn;
pub mod eks;
pub mod iam;
pub mod policies;
pub mod policy;
pub mod trust;
