//! The access policies that people hold. EKS names and numbers its policies but
//! does not say what they allow, so descriptions are here. Policies that are not
//! listed here are for AWS's own services: shown where somebody has one, never
//! offered.

/// Name, description, and whether the row is shown even if EKS does not list it.
const HUMAN: [(&str, &str, bool); 7] = [
    (
        "AmazonEKSAdminPolicy",
        "Most permissions on resources, usually limited to a namespace",
        true,
    ),
    (
        "AmazonEKSClusterAdminPolicy",
        "Administrator of the whole cluster",
        true,
    ),
    (
        "AmazonEKSAdminViewPolicy",
        "Sees all resources, secrets included",
        true,
    ),
    (
        "AmazonEKSEditPolicy",
        "Changes most resources, roles and bindings excepted",
        true,
    ),
    (
        "AmazonEKSViewPolicy",
        "Sees most resources, secrets excepted",
        true,
    ),
    ("AmazonEKSSecretReaderPolicy", "Reads secrets", false),
    (
        "AmazonEKSSecretAdminPolicy",
        "Reads and changes secrets",
        false,
    ),
];

/// The policies whose rows are always shown.
pub fn always() -> impl Iterator<Item = &'static str> {
    HUMAN.iter().filter(|p| p.2).map(|p| p.0)
}

/// All policies for people.
pub fn human() -> impl Iterator<Item = &'static str> {
    HUMAN.iter().map(|p| p.0)
}

/// What the policy is, in words; `None` for a policy of a service or an unknown one.
pub fn description(name: &str) -> Option<&'static str> {
    HUMAN.iter().find(|p| p.0 == name).map(|p| p.1)
}

/// The ARN of a policy in a partition.
pub fn arn(partition: &str, name: &str) -> String {
    format!("arn:{partition}:eks::aws:cluster-access-policy/{name}")
}
