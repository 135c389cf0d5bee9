//! Entitlements and principals that this host never grants or revokes.

/// The list, with safe defaults.
#[derive(Debug, Clone)]
pub struct Protect {
    patterns: Vec<String>,
}

const DEFAULTS: &[&str] = &[
    "cluster_role:cluster-admin:*",
    "cluster_role:system:*",
    "namespace_role:kube-system/*",
    "*:kube-system:member",
    "*:cluster-access-policy/AmazonEKSClusterAdminPolicy:*",
];

impl Protect {
    /// The defaults, with `add` and without `unprotect`.
    ///
    /// # Errors
    /// When something is unprotected that is not protected.
    pub fn new(add: &[String], unprotect: &[String]) -> Result<Self, String> {
        let mut patterns: Vec<String> = DEFAULTS.iter().map(|&text| text.to_owned()).collect();
        patterns.extend_from_slice(add);
        for text in unprotect {
            if !patterns.contains(text) {
                return Err(format!("`{text}` is not protected"));
            }
            patterns.retain(|known| known != text);
        }
        Ok(Self { patterns })
    }

    /// Why an entitlement or principal (`kind:id`) is protected, if it is.
    #[must_use]
    pub fn reason(&self, entitlement_id: &str, principal: &str) -> Option<String> {
        self.patterns.iter().find_map(|pattern| {
            let found = [entitlement_id, principal]
                .into_iter()
                .find(|text| matches(pattern, text))?;
            Some(format!("`{found}` is protected by `{pattern}`"))
        })
    }
}

/// `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(before) else {
        return false;
    };
    rest.char_indices()
        .map(|(at, _)| at)
        .chain([rest.len()])
        .any(|at| matches(after, rest.get(at..).unwrap_or_default()))
}
