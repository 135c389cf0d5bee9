//! Annotations of messages (`google.protobuf.Any`) and profiles
//! (`google.protobuf.Struct`) from and to plain values.

use prost::{Message, Name};
use prost_types::value::Kind;
use prost_types::{Any, ListValue, Struct, Value};
use serde_json::{Map, Number};

/// A message as an annotation.
#[must_use]
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// Whether an annotation is of a type; only what follows the last `/` counts.
#[must_use]
pub fn is<M: Name>(annotation: &Any) -> bool {
    annotation.type_url.rsplit('/').next() == Some(M::full_name().as_str())
}

/// The first annotation of a type, where there is one that can be decoded.
#[must_use]
pub fn find<M: Message + Name + Default>(annotations: &[Any]) -> Option<M> {
    annotations
        .iter()
        .find(|annotation| is::<M>(annotation))
        .and_then(|any| M::decode(any.value.as_slice()).ok())
}

/// A JSON object as a profile. Numbers become 64-bit floats, as profiles hold
/// nothing else.
#[must_use]
pub fn profile(object: &Map<String, serde_json::Value>) -> Struct {
    Struct {
        fields: object
            .iter()
            .map(|(key, value)| (key.clone(), to_value(value)))
            .collect(),
    }
}

/// A profile as a JSON object.
#[must_use]
pub fn json(profile: &Struct) -> Map<String, serde_json::Value> {
    profile
        .fields
        .iter()
        .map(|(key, value)| (key.clone(), from_value(value)))
        .collect()
}

fn to_value(value: &serde_json::Value) -> Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(*value),
        serde_json::Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        serde_json::Value::String(value) => Kind::StringValue(value.clone()),
        serde_json::Value::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(to_value).collect(),
        }),
        serde_json::Value::Object(object) => Kind::StructValue(profile(object)),
    };
    Value { kind: Some(kind) }
}

fn from_value(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => (*value).into(),
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StringValue(value)) => value.clone().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(from_value).collect(),
        Some(Kind::StructValue(profile)) => json(profile).into(),
    }
}

/// Whole numbers that a float holds exactly are shown without a fraction.
fn number(value: f64) -> serde_json::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "checked: whole and within 2^53"
        )]
        return (value as i64).into();
    }
    Number::from_f64(value).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::c1z::pb;

    #[test]
    fn profiles_survive_the_way_there_and_back() {
        let before = serde_json::json!({
            "name": "a", "none": null, "yes": true, "count": 3, "share": 0.5, "big": -9007199254740992_i64,
            "list": [1, "two", {"three": []}], "object": {"": "empty key"}
        });
        let after = json(&profile(before.as_object().unwrap()));
        assert_eq!(serde_json::Value::Object(after), before);
    }

    #[test]
    fn annotations_are_found_by_the_end_of_their_url() {
        let mut annotation = pack(&pb::Aliases {
            ids: vec!["x".into()],
        });
        assert_eq!(
            annotation.type_url,
            "type.googleapis.com/c1.connector.v2.Aliases"
        );
        annotation.type_url = "elsewhere/types/c1.connector.v2.Aliases".into();
        let other = pack(&pb::GrantImmutable::default());
        let found: pb::Aliases = find(&[other.clone(), annotation]).unwrap();
        assert_eq!(found.ids, ["x"]);
        assert_eq!(find::<pb::Aliases>(&[other]), None);
    }
}
