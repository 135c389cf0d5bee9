//! Every key of a fleet file, in one table: what is read, what a typing error
//! is compared with, and the JSON schema come from it.

use crate::credentials::settings::SETTINGS;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A path, relative to the fleet file's folder.
    Path,
    /// A text.
    Text,
    /// Twelve digits.
    Account,
    /// The name of an AWS region.
    Region,
    /// Several of them.
    Regions,
    /// `90s`, `6h`, `1d`.
    Duration,
    /// `6h`, or a table of durations.
    Schedule,
    /// `128MiB`.
    Bytes,
    /// Names and plain values.
    Settings,
    /// `"ambient"`, or references.
    Credentials,
    /// A table of its own.
    Table(&'static [Key]),
    /// A list of tables.
    Tables(&'static [Key]),
}

/// One key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) of: Of,
    pub(super) about: &'static str,
}

const fn key(name: &'static str, of: Of, about: &'static str) -> Key {
    Key { name, of, about }
}

const PLUGIN: Key = key("plugin", Of::Path, "The connector, a WebAssembly component");
const LOCK: Key = key(
    "lock",
    Of::Path,
    "Which plugins are approved for what; else baton.lock beside this file, if there is one",
);
const SETTINGS_KEY: Key = key(
    "settings",
    Of::Settings,
    "Settings of the connector, by its own names; region and cluster are filled in",
);
const CREDENTIALS: Key = key(
    "credentials",
    Of::Credentials,
    "Where the credentials are; without it the AWS chain of the machine",
);
const ACCOUNT: Key = key(
    "account",
    Of::Account,
    "The cluster's account; else that of role-arn. Other credentials fail the cluster",
);
const REGION: Key = key("region", Of::Region, "The cluster's region");
const SCHEDULE: Key = key(
    "schedule",
    Of::Schedule,
    "How often `baton-host serve` syncs [default: 6h]",
);
const LIMITS: Key = key(
    "limits",
    Of::Table(LIMIT),
    "What one sync's plugin may use; none can be raised above the default of memory",
);
const OUTPUT: Key = key(
    "output",
    Of::Path,
    "The folder of access files: {account}/{region}/{cluster}.c1z [default: this file's folder]",
);
const WORK: Key = key(
    "work-folder",
    Of::Path,
    "Where work files are kept; needs room for the access files that are written at once, unpacked",
);

const PEOPLE: Key = key(
    "external-resource-c1z",
    Of::Path,
    "Another connector's access file, to take accounts and groups from",
);
const FILTER: Key = key(
    "external-resource-entitlement-id-filter",
    Of::Text,
    "Of that file, only who holds this entitlement",
);

/// The file.
pub(super) const FILE: &[Key] = &[
    key(
        "defaults",
        Of::Table(DEFAULTS),
        "What holds for every cluster and rule that does not say otherwise",
    ),
    key("clusters", Of::Tables(CLUSTER), "The clusters"),
    key(
        "discover",
        Of::Tables(RULE),
        "Rules by which more clusters are found: one table, or several",
    ),
];

/// `[defaults]`.
pub(super) const DEFAULTS: &[Key] = &[
    PLUGIN,
    LOCK,
    SETTINGS_KEY,
    CREDENTIALS,
    ACCOUNT,
    REGION,
    SCHEDULE,
    LIMITS,
    OUTPUT,
    WORK,
    PEOPLE,
    FILTER,
];

/// `[[clusters]]`.
pub(super) const CLUSTER: &[Key] = &[
    key("name", Of::Text, "The cluster's name in EKS"),
    ACCOUNT,
    REGION,
    PLUGIN,
    LOCK,
    SETTINGS_KEY,
    CREDENTIALS,
    SCHEDULE,
    LIMITS,
    OUTPUT,
    key(
        "file",
        Of::Text,
        "The access file within the output folder; {account}, {region} and {cluster} stand for themselves",
    ),
    WORK,
    PEOPLE,
    FILTER,
];

/// `[[discover]]`.
pub(super) const RULE: &[Key] = &[
    key(
        "name",
        Of::Text,
        "The rule's name in messages [default: discover-1, discover-2 and so on]",
    ),
    key("regions", Of::Regions, "Where to look"),
    key(
        "role-arn",
        Of::Text,
        "The role that looks and reads; the same as credentials.role-arn",
    ),
    ACCOUNT,
    PLUGIN,
    LOCK,
    SETTINGS_KEY,
    CREDENTIALS,
    SCHEDULE,
    LIMITS,
    OUTPUT,
    WORK,
    PEOPLE,
    FILTER,
];

/// `limits`.
const LIMIT: &[Key] = &[
    key(
        "memory",
        Of::Bytes,
        "Linear memory [default and most: 256MiB]",
    ),
    key(
        "call",
        Of::Duration,
        "Time of one call into the plugin [default: 2m]",
    ),
    key("task", Of::Duration, "Time of the whole sync [default: 2h]"),
    key("cpu", Of::Duration, "CPU time of one call [default: 2m]"),
];

/// `schedule`, as a table.
pub(super) const TIMES: &[Key] = &[
    key(
        "every",
        Of::Duration,
        "From the end of one sync to the next, 1m to 30d",
    ),
    key(
        "jitter",
        Of::Duration,
        "Up to this is added, by chance [default: a tenth]",
    ),
];

/// A secret's place.
pub(super) const REFERENCE: &[Key] = &[
    key("env", Of::Text, "The environment variable that holds it"),
    key("file", Of::Path, "The file that holds it"),
];

/// The settings of the kind `aws` that a fleet file takes, and whether they
/// are secrets. It only reads, and accounts have a key of their own.
pub(super) fn credentials() -> impl Iterator<Item = (&'static str, bool, &'static str)> {
    let profile = (
        "profile",
        false,
        "A profile of the AWS configuration on this machine",
    );
    let settings = SETTINGS
        .iter()
        .filter(|setting| {
            ![
                "provisioning-role-arn",
                "allowed-account-ids",
                "eks-assume-role-arn",
            ]
            .contains(&setting.name)
        })
        .map(|setting| (setting.name, setting.secret, setting.help));
    std::iter::once(profile).chain(settings)
}
