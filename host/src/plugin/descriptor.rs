//! What a descriptor may say. It is the word of code that nobody has approved
//! yet, so it is checked before any of it reaches a flag, a file or a screen.

use crate::sandbox::contract::types::{Attributes, Descriptor};

/// Why a descriptor is refused: one sentence, with the names in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DescriptorError(String);

/// Words that a setting's name may not contain: secrets are never settings.
const SECRET_WORDS: &[&str] = &["secret", "token", "password", "key", "credential"];
const SETTING_KINDS: &[&str] = &["string", "bool", "int", "choice"];
/// Longest text of a descriptor, in bytes.
const STRING: usize = 8 << 10;
/// Attributes of a descriptor, in all: choices of a setting are among them, and
/// `--help` shows each.
const ATTRIBUTES: usize = 1_024;
const TRAITS: &[&str] = &["user", "group", "role", "app", "secret"];

/// The first value of a registered attribute.
#[must_use]
pub fn attribute<'a>(attributes: &'a Attributes, key: &str) -> Option<&'a str> {
    self::attributes(attributes, key).next()
}

/// All values of an attribute that may repeat.
pub fn attributes<'a>(attributes: &'a Attributes, key: &str) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

/// Checks names, settings and kinds. Rights are checked where they are used.
pub(super) fn check(descriptor: &Descriptor, reserved: &[String]) -> Result<(), DescriptorError> {
    let refuse = |text: String| Err(DescriptorError(text));
    modest(descriptor)?;
    if !kebab(&descriptor.name, 64) {
        return refuse("the connector's name is not kebab case of at most 64 characters".into());
    }
    let name = &descriptor.name;
    if descriptor.version.is_empty()
        || descriptor.version.len() > 64
        || !descriptor
            .version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b))
    {
        return refuse(format!("the version of {name} is not a semantic version"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for setting in &descriptor.settings {
        let setting_name = &setting.name;
        if !kebab(setting_name, 64) {
            return refuse(format!(
                "{name} declares a setting whose name is not kebab case"
            ));
        }
        if let Some(word) = SECRET_WORDS
            .iter()
            .find(|word| setting_name.contains(**word))
        {
            return refuse(format!(
                "{name} declares the setting `{setting_name}`: no setting's name may contain `{word}`, because secrets never enter a sandbox"
            ));
        }
        if reserved.iter().any(|taken| taken == setting_name) {
            return refuse(format!(
                "{name} declares the setting `{setting_name}`, which is an option of the host"
            ));
        }
        if !seen.insert(setting_name) {
            return refuse(format!(
                "{name} declares the setting `{setting_name}` twice"
            ));
        }
        if !SETTING_KINDS.contains(&setting.kind.as_str()) {
            return refuse(format!(
                "the setting `{setting_name}` of {name} is of no kind that this host knows"
            ));
        }
    }
    if descriptor.kinds.is_empty() {
        return refuse(format!("{name} declares no kinds"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for kind in &descriptor.kinds {
        if !snake(&kind.name, 64) {
            return refuse(format!(
                "{name} declares a kind whose name is not lower snake case"
            ));
        }
        if !seen.insert(&kind.name) {
            return refuse(format!("{name} declares the kind `{}` twice", kind.name));
        }
        if let Some(other) = kind.traits.iter().find(|t| !TRAITS.contains(&t.as_str())) {
            return refuse(format!(
                "the kind `{}` of {name} has the trait `{}`, which this host does not know",
                kind.name,
                crate::sandbox::clean(other, 64)
            ));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for upstream in &descriptor.upstreams {
        if !kebab(&upstream.name, 64) {
            return refuse(format!(
                "{name} declares an upstream whose name is not kebab case"
            ));
        }
        if !seen.insert(&upstream.name) {
            return refuse(format!(
                "{name} declares the upstream `{}` twice",
                upstream.name
            ));
        }
        for key in ["region-setting", "cluster-setting"] {
            if let Some(setting) = attribute(&upstream.attributes, key)
                && !descriptor.settings.iter().any(|s| s.name == setting)
            {
                return refuse(format!(
                    "the upstream `{}` of {name} names a setting that {name} does not declare",
                    upstream.name
                ));
            }
        }
    }
    Ok(())
}

/// Nothing in a descriptor is longer, more or stranger than help texts and
/// tables can show.
fn modest(descriptor: &Descriptor) -> Result<(), DescriptorError> {
    let refuse = |text: String| Err(DescriptorError(text));
    let rights = descriptor.upstreams.iter().map(|u| u.rights.len()).sum();
    for (what, count, limit) in [
        ("settings", descriptor.settings.len(), 64),
        ("kinds", descriptor.kinds.len(), 64),
        ("upstreams", descriptor.upstreams.len(), 16),
        ("rights", rights, 256),
    ] {
        if count > limit {
            return refuse(format!(
                "the connector declares {count} {what}; it may have {limit}"
            ));
        }
    }
    let mut texts = vec![descriptor.name.as_str(), &descriptor.version];
    let mut all = vec![&descriptor.attributes];
    for setting in &descriptor.settings {
        texts.extend([setting.name.as_str(), &setting.kind]);
        all.push(&setting.attributes);
    }
    for kind in &descriptor.kinds {
        texts.push(&kind.name);
        texts.extend(
            kind.traits
                .iter()
                .chain(&kind.capabilities)
                .map(|t| t.as_str()),
        );
        all.push(&kind.attributes);
    }
    for upstream in &descriptor.upstreams {
        texts.extend([upstream.name.as_str(), &upstream.kind]);
        for right in &upstream.rights {
            texts.extend([right.group.as_str(), &right.allow]);
        }
        all.push(&upstream.attributes);
    }
    let attributes: usize = all.iter().map(|some| some.len()).sum();
    if attributes > ATTRIBUTES {
        return refuse(format!(
            "the connector declares {attributes} attributes; it may have {ATTRIBUTES}"
        ));
    }
    for (key, value) in all.into_iter().flatten() {
        texts.extend([key.as_str(), value]);
    }
    for text in texts {
        if text.len() > STRING {
            return refuse(format!(
                "the connector declares a text of {} bytes; {STRING} are the limit",
                text.len()
            ));
        }
        if crate::sandbox::clean(text, STRING) != text {
            return refuse(format!(
                "the connector declares a text with control characters: `{}`",
                crate::sandbox::clean(text, 80)
            ));
        }
    }
    Ok(())
}

fn kebab(name: &str, limit: usize) -> bool {
    word(name, limit, b'-')
}

fn snake(name: &str, limit: usize) -> bool {
    word(name, limit, b'_')
}

fn word(name: &str, limit: usize, joint: u8) -> bool {
    !name.is_empty()
        && name.len() <= limit
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == joint)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::sandbox::contract::types::{KindSpec, SettingSpec};

    fn descriptor(setting: &str) -> Descriptor {
        Descriptor {
            name: "demo".into(),
            version: "0.1.0".into(),
            settings: vec![SettingSpec {
                name: setting.into(),
                kind: "string".into(),
                required: false,
                attributes: vec![],
            }],
            kinds: vec![KindSpec {
                name: "thing".into(),
                traits: vec![],
                capabilities: vec![],
                attributes: vec![],
            }],
            upstreams: vec![],
            attributes: vec![],
        }
    }

    fn refusal(setting: &str) -> String {
        check(&descriptor(setting), &["file".into()])
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_plain_setting_is_fine() {
        assert!(check(&descriptor("eks-region"), &["file".into()]).is_ok());
    }

    #[test]
    fn a_setting_that_asks_for_a_secret_is_refused() {
        for name in [
            "eks-secret-access-key",
            "client-secret",
            "api-token",
            "pass-key",
        ] {
            assert!(refusal(name).contains(name), "{name}");
        }
    }

    #[test]
    fn a_setting_that_shadows_an_option_of_the_host_is_refused() {
        assert!(refusal("file").contains("option of the host"));
    }

    #[test]
    fn a_setting_with_more_choices_than_anybody_reads_is_refused() {
        let with = |choices: usize| {
            let mut descriptor = descriptor("size");
            let setting = descriptor.settings.first_mut().unwrap();
            setting.kind = "choice".into();
            setting.attributes = (0..choices)
                .map(|n| ("choices".to_owned(), n.to_string()))
                .collect();
            check(&descriptor, &[])
        };
        assert!(with(1_024).is_ok());
        let error = with(100_000).unwrap_err().to_string();
        assert!(error.contains("100000 attributes"), "{error}");
    }

    #[test]
    fn a_setting_that_is_no_flag_is_refused() {
        assert!(refusal("--file").contains("kebab"));
        assert!(refusal("a b").contains("kebab"));
    }
}
