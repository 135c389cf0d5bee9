//! Annotations of other connectors that may stand in our file.
//!
//! The released `baton` prints no list at all if one row has an annotation that
//! it does not know, and connectors with newer SDKs write such. They go; what
//! is in them is not lost, it is in the other file.

use prost_types::Any;

use crate::c1z::pb;

/// What SDK v0.7.27 knows, less what belongs on answers and not in files.
const KNOWN: [&str; 22] = [
    "Aliases",
    "AppTrait",
    "BatonID",
    "ChildResourceType",
    "EntitlementImmutable",
    "ExternalLink",
    "ExternalResourceMatch",
    "ExternalResourceMatchAll",
    "ExternalResourceMatchID",
    "GrantExpandable",
    "GrantImmutable",
    "GrantMetadata",
    "GroupTrait",
    "RawId",
    "RoleTrait",
    "ScopeBindingTrait",
    "SecretTrait",
    "SkipEntitlements",
    "SkipEntitlementsAndGrants",
    "SkipGrants",
    "UserTrait",
    "V1Identifier",
];

pub(super) fn annotations(annotations: &mut Vec<Any>) {
    annotations.retain(|annotation| {
        annotation
            .type_url
            .rsplit('/')
            .next()
            .and_then(|name| name.strip_prefix("c1.connector.v2."))
            .is_some_and(|name| KNOWN.contains(&name))
    });
}

pub(super) fn resource(resource: &mut pb::Resource) {
    annotations(&mut resource.annotations);
}

pub(super) fn entitlement(entitlement: &mut pb::Entitlement) {
    annotations(&mut entitlement.annotations);
    if let Some(on) = &mut entitlement.resource {
        resource(on);
    }
    for kind in &mut entitlement.grantable_to {
        annotations(&mut kind.annotations);
    }
}

pub(super) fn grant(grant: &mut pb::Grant) {
    annotations(&mut grant.annotations);
    if let Some(held) = &mut grant.entitlement {
        entitlement(held);
    }
    if let Some(principal) = &mut grant.principal {
        resource(principal);
    }
}
