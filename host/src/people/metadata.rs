//! What a grant says of itself: the members of its `GrantMetadata`.

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::c1z::annotations::{find, is, pack};
use crate::c1z::pb;

/// A member that is text.
pub(super) fn text(grant: &pb::Grant, key: &str) -> Option<String> {
    let metadata: pb::GrantMetadata = find(&grant.annotations)?;
    match metadata.metadata?.fields.remove(key)?.kind? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Sets a member; the others stay.
pub(super) fn set(grant: &mut pb::Grant, key: &str, text: &str) {
    let value = Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    for annotation in &mut grant.annotations {
        if is::<pb::GrantMetadata>(annotation)
            && let Some(mut metadata) = find::<pb::GrantMetadata>(std::slice::from_ref(annotation))
        {
            let facts = metadata.metadata.get_or_insert_default();
            facts.fields.insert(key.to_owned(), value);
            *annotation = pack(&metadata);
            return;
        }
    }
    let fields = [(key.to_owned(), value)].into_iter().collect();
    grant.annotations.push(pack(&pb::GrantMetadata {
        metadata: Some(Struct { fields }),
    }));
}
