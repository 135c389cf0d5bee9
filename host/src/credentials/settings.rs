//! The settings of the upstream kind `aws`: which keys and roles to use.
//!
//! They belong to the host, never to a plugin: a plugin cannot name, read or
//! shadow them. Names and variables are those that the reference connector
//! documents, with both spellings of the role. Everything that is wrong with
//! them is said at once.

use super::endpoints;
use super::env::Env;
use super::error::SettingsError;
use super::secret::Secret;

/// One setting, for flags, `--help` and the documentation.
#[derive(Debug, Clone, Copy)]
pub struct SettingInfo {
    /// The flag without dashes, `role-arn`.
    pub name: &'static str,
    /// The environment variable, `BATON_ROLE_ARN`.
    pub env: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// One line for `--help`.
    pub help: &'static str,
}

const fn plain(name: &'static str, env: &'static str, help: &'static str) -> SettingInfo {
    SettingInfo {
        name,
        env,
        secret: false,
        help,
    }
}

const fn secret(name: &'static str, env: &'static str, help: &'static str) -> SettingInfo {
    SettingInfo {
        name,
        env,
        secret: true,
        help,
    }
}

/// All settings of the kind, in the order of the documentation.
pub const SETTINGS: &[SettingInfo] = &[
    plain(
        "eks-access-key",
        "BATON_EKS_ACCESS_KEY",
        "Access key id that assumes the role",
    ),
    secret(
        "eks-secret-access-key",
        "BATON_EKS_SECRET_ACCESS_KEY",
        "Secret of the access key",
    ),
    plain(
        "role-arn",
        "BATON_ROLE_ARN",
        "Role in the cluster's account to assume",
    ),
    plain(
        "eks-assume-role-arn",
        "BATON_EKS_ASSUME_ROLE_ARN",
        "Older spelling of role-arn",
    ),
    secret(
        "external-id",
        "BATON_EXTERNAL_ID",
        "External id that the role asks for",
    ),
    plain(
        "global-role-arn",
        "BATON_GLOBAL_ROLE_ARN",
        "Role to assume before role-arn (two hops)",
    ),
    secret(
        "global-binding-external-id",
        "BATON_GLOBAL_BINDING_EXTERNAL_ID",
        "External id that global-role-arn asks for",
    ),
    plain(
        "global-region",
        "BATON_GLOBAL_REGION",
        "Region of the STS for the first of two hops",
    ),
    plain(
        "global-access-key-id",
        "BATON_GLOBAL_ACCESS_KEY_ID",
        "Access key id for the first hop; else the ambient credentials",
    ),
    secret(
        "global-secret-access-key",
        "BATON_GLOBAL_SECRET_ACCESS_KEY",
        "Secret of the access key for the first hop",
    ),
    plain(
        "provisioning-role-arn",
        "BATON_PROVISIONING_ROLE_ARN",
        "Another role for granting and revoking only; else role-arn",
    ),
    plain(
        "allowed-account-ids",
        "BATON_ALLOWED_ACCOUNT_IDS",
        "Accounts that the credentials may belong to, separated by commas",
    ),
];

/// An access key id and its secret.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// The id; not a secret, but shown to nobody who does not know it.
    pub id: Secret,
    /// The secret.
    pub secret: Secret,
}

/// The settings, checked.
#[derive(Debug, Clone, Default)]
pub struct AwsSettings {
    /// `eks-access-key` with its secret.
    pub key: Option<AccessKey>,
    /// `role-arn` or `eks-assume-role-arn`.
    pub role_arn: Option<String>,
    /// `external-id`
    pub external_id: Option<Secret>,
    /// `global-role-arn`
    pub global_role_arn: Option<String>,
    /// `global-binding-external-id`
    pub global_external_id: Option<Secret>,
    /// `global-region`
    pub global_region: Option<String>,
    /// `global-access-key-id` with its secret.
    pub global_key: Option<AccessKey>,
    /// `provisioning-role-arn`
    pub provisioning_role_arn: Option<String>,
    /// `allowed-account-ids`; empty: any.
    pub allowed_account_ids: Vec<String>,
}

impl AwsSettings {
    /// Reads the settings by their variables.
    ///
    /// # Errors
    /// As [`AwsSettings::from_values`].
    pub fn from_env(env: &Env) -> Result<AwsSettings, SettingsError> {
        AwsSettings::from_values(|setting| env.get(setting.env))
    }

    /// Reads the settings by a function that answers the value of each, from a
    /// flag, a variable or a file. Blank values count as not given.
    ///
    /// # Errors
    /// When some are missing or contradict each other: all of them at once.
    pub fn from_values(
        value_of: impl Fn(&SettingInfo) -> Option<String>,
    ) -> Result<AwsSettings, SettingsError> {
        let get = |name: &str| -> Option<String> {
            let setting = SETTINGS.iter().find(|setting| setting.name == name)?;
            let value = value_of(setting)?;
            let value = value.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        let mut problems = Vec::new();

        let role_arn = match (get("role-arn"), get("eks-assume-role-arn")) {
            (Some(one), Some(other)) if one != other => {
                problems.push(
                    "role-arn and eks-assume-role-arn are two spellings of one setting and have different values"
                        .to_owned(),
                );
                Some(one)
            }
            (one, other) => one.or(other),
        };
        let key = pair(
            ("eks-access-key", get("eks-access-key")),
            ("eks-secret-access-key", get("eks-secret-access-key")),
            &mut problems,
        );
        let global_key = pair(
            ("global-access-key-id", get("global-access-key-id")),
            ("global-secret-access-key", get("global-secret-access-key")),
            &mut problems,
        );
        let settings = AwsSettings {
            key,
            role_arn,
            external_id: get("external-id").map(Secret::from),
            global_role_arn: get("global-role-arn"),
            global_external_id: get("global-binding-external-id").map(Secret::from),
            global_region: get("global-region"),
            global_key,
            provisioning_role_arn: get("provisioning-role-arn"),
            allowed_account_ids: get("allowed-account-ids")
                .unwrap_or_default()
                .split([',', ' '])
                .filter(|id| !id.is_empty())
                .map(str::to_owned)
                .collect(),
        };

        let own = ["eks-access-key", "eks-secret-access-key"];
        let global = [
            "global-role-arn",
            "global-binding-external-id",
            "global-access-key-id",
            "global-secret-access-key",
        ];
        let given = |names: &[&'static str]| -> Vec<&'static str> {
            names
                .iter()
                .copied()
                .filter(|name| get(name).is_some())
                .collect()
        };
        let (own, global) = (given(&own), given(&global));
        if let (Some(one), Some(other)) = (own.first(), global.first()) {
            problems.push(format!(
                "{one} and {other} exclude each other: the first is for one hop with an own key, the second for two hops"
            ));
        }
        settings.check(&mut problems);
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError { problems })
        }
    }

    fn check(&self, problems: &mut Vec<String>) {
        if self.role_arn.is_none() {
            for (given, name) in [
                (self.external_id.is_some(), "external-id"),
                (self.global_role_arn.is_some(), "global-role-arn"),
                (self.global_key.is_some(), "global-access-key-id"),
                (self.key.is_some(), "eks-access-key"),
            ] {
                if given {
                    problems.push(format!("{name} is given and role-arn is missing"));
                }
            }
        }
        if self.global_role_arn.is_none() && self.global_external_id.is_some() {
            problems.push(
                "global-binding-external-id is given and global-role-arn is missing".to_owned(),
            );
        }
        for (name, value) in [
            ("role-arn", &self.role_arn),
            ("global-role-arn", &self.global_role_arn),
            ("provisioning-role-arn", &self.provisioning_role_arn),
        ] {
            if value
                .as_deref()
                .is_some_and(|arn| role_partition(arn).is_none())
            {
                problems.push(format!(
                    "{name} is not the ARN of a role, such as arn:aws:iam::111122223333:role/name"
                ));
            }
        }
        for (name, value) in [
            ("external-id", &self.external_id),
            ("global-binding-external-id", &self.global_external_id),
        ] {
            if value
                .as_ref()
                .is_some_and(|id| !is_external_id(id.expose()))
            {
                problems.push(format!(
                    "{name} must have 2 to 1224 letters, digits or any of +=,.@:/_-"
                ));
            }
        }
        if let Some(region) = &self.global_region
            && endpoints::Endpoints::of_region(region).is_err()
        {
            problems.push("global-region is not the name of an AWS region".to_owned());
        }
        for id in &self.allowed_account_ids {
            if !is_account(id) {
                problems.push(format!(
                    "allowed-account-ids holds `{id}`, which is not an account id of 12 digits"
                ));
            }
        }
    }
}

fn pair(
    id: (&'static str, Option<String>),
    secret: (&'static str, Option<String>),
    problems: &mut Vec<String>,
) -> Option<AccessKey> {
    match (id.1, secret.1) {
        (Some(id), Some(secret)) => Some(AccessKey {
            id: id.into(),
            secret: secret.into(),
        }),
        (None, None) => None,
        (Some(_), None) => {
            problems.push(format!("{} is given and {} is missing", id.0, secret.0));
            None
        }
        (None, Some(_)) => {
            problems.push(format!("{} is given and {} is missing", secret.0, id.0));
            None
        }
    }
}

/// The partition of a role's ARN; nothing where it is no role's ARN.
pub(super) fn role_partition(arn: &str) -> Option<&str> {
    let mut fields = arn.splitn(6, ':');
    let (Some("arn"), Some(partition), Some("iam"), Some(""), Some(account), Some(resource)) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return None;
    };
    let name = resource.strip_prefix("role/")?;
    let legal = |c: char| c.is_ascii_graphic() && c != '*' && c != ':';
    let good = is_account(account)
        && partition.starts_with("aws")
        && !name.is_empty()
        && !name.ends_with('/')
        && name.chars().all(legal);
    good.then_some(partition)
}

fn is_account(id: &str) -> bool {
    id.len() == 12 && id.chars().all(|c| c.is_ascii_digit())
}

fn is_external_id(id: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "+=,.@:/_-".contains(c);
    (2..=1224).contains(&id.len()) && id.chars().all(legal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/team/reader";

    fn read(pairs: &[(&str, &str)]) -> Result<AwsSettings, Vec<String>> {
        let env = Env::from_pairs(pairs.iter().copied());
        AwsSettings::from_env(&env).map_err(|error| error.problems)
    }

    #[test]
    fn the_documented_variables_are_read() {
        let settings = read(&[
            ("BATON_EKS_ACCESS_KEY", "AKIAEXAMPLE"),
            ("BATON_EKS_SECRET_ACCESS_KEY", " secret\n"),
            ("BATON_EKS_ASSUME_ROLE_ARN", ROLE),
            ("BATON_EXTERNAL_ID", "an-id"),
            ("BATON_ALLOWED_ACCOUNT_IDS", "111122223333, 444455556666"),
        ])
        .unwrap();
        assert_eq!(settings.key.unwrap().secret.expose(), "secret");
        assert_eq!(settings.role_arn.as_deref(), Some(ROLE));
        assert_eq!(settings.external_id.unwrap().expose(), "an-id");
        assert_eq!(
            settings.allowed_account_ids,
            ["111122223333", "444455556666"]
        );
    }

    #[test]
    fn nothing_at_all_is_the_ambient_chain() {
        let settings = read(&[("BATON_ROLE_ARN", "  ")]).unwrap();
        assert!(settings.role_arn.is_none());
        assert!(settings.key.is_none());
    }

    #[test]
    fn both_spellings_of_the_role_may_agree_but_not_differ() {
        let agree = read(&[
            ("BATON_ROLE_ARN", ROLE),
            ("BATON_EKS_ASSUME_ROLE_ARN", ROLE),
        ]);
        assert_eq!(agree.unwrap().role_arn.as_deref(), Some(ROLE));
        let differ = read(&[
            ("BATON_ROLE_ARN", ROLE),
            (
                "BATON_EKS_ASSUME_ROLE_ARN",
                "arn:aws:iam::111122223333:role/other",
            ),
        ]);
        assert_eq!(
            differ.unwrap_err(),
            [
                "role-arn and eks-assume-role-arn are two spellings of one setting and have different values"
            ]
        );
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let problems = read(&[
            ("BATON_EKS_ACCESS_KEY", "AKIAEXAMPLE"),
            ("BATON_GLOBAL_SECRET_ACCESS_KEY", "hidden-value"),
            ("BATON_GLOBAL_BINDING_EXTERNAL_ID", "x"),
            ("BATON_EXTERNAL_ID", "an id"),
            (
                "BATON_PROVISIONING_ROLE_ARN",
                "arn:aws:iam::111122223333:user/me",
            ),
            ("BATON_GLOBAL_REGION", "Ireland"),
            ("BATON_ALLOWED_ACCOUNT_IDS", "12"),
        ])
        .unwrap_err();
        assert_eq!(
            problems,
            [
                "eks-access-key is given and eks-secret-access-key is missing",
                "global-secret-access-key is given and global-access-key-id is missing",
                "eks-access-key and global-binding-external-id exclude each other: the first is for one hop with an own key, the second for two hops",
                "external-id is given and role-arn is missing",
                "global-binding-external-id is given and global-role-arn is missing",
                "provisioning-role-arn is not the ARN of a role, such as arn:aws:iam::111122223333:role/name",
                "external-id must have 2 to 1224 letters, digits or any of +=,.@:/_-",
                "global-binding-external-id must have 2 to 1224 letters, digits or any of +=,.@:/_-",
                "global-region is not the name of an AWS region",
                "allowed-account-ids holds `12`, which is not an account id of 12 digits",
            ]
        );
        assert!(!problems.join(" ").contains("hidden-value"));
    }

    #[test]
    fn only_the_arn_of_a_role_is_one() {
        assert_eq!(role_partition(ROLE), Some("aws"));
        assert_eq!(
            role_partition("arn:aws-us-gov:iam::111122223333:role/r"),
            Some("aws-us-gov")
        );
        for bad in [
            "reader",
            "arn:aws:iam::111122223333:user/r",
            "arn:aws:sts::111122223333:assumed-role/r/s",
            "arn:aws:iam::1111:role/r",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role/*",
            "arn:aws:iam::111122223333:role/a b",
        ] {
            assert_eq!(role_partition(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_setting_has_the_variable_of_its_name() {
        for setting in SETTINGS {
            let upper = setting.name.to_uppercase().replace('-', "_");
            assert_eq!(setting.env, format!("BATON_{upper}"));
            let named = ["secret", "external-id"];
            assert_eq!(
                setting.secret,
                named.iter().any(|part| setting.name.contains(part)),
                "{}",
                setting.name
            );
        }
    }
}
