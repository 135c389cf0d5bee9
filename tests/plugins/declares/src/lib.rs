//! Describes itself as a test says: the descriptor is JSON in the file, and a
//! test writes over it (`e2e::declares`). One component stands for every
//! descriptor that a stranger could send.

use guest::{Attributes, Descriptor, KindSpec, Plugin, Right, SettingSpec, Upstream, setting};
use serde::Deserialize;

struct Declares;

guest::export!(Declares with_types_in guest);

/// Where the JSON stands, between a mark and the last brace. Spaces, so that
/// the linker keeps all of it as data.
static TEXT: &[u8; 16 << 10] = &{
    let mut text = [b' '; 16 << 10];
    let mark = b"@declares@";
    let mut i = 0;
    while i < mark.len() {
        text[i] = mark[i];
        i += 1;
    }
    text
};

/// Name, kind, attributes, and rights as pairs of group and right.
type UpstreamText = (String, String, Attributes, Vec<(String, String)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: Option<String>,
    version: Option<String>,
    settings: Option<Vec<String>>,
    setting_kind: Option<String>,
    kinds: Option<Vec<String>>,
    traits: Option<Vec<String>>,
    upstreams: Option<Vec<UpstreamText>>,
    attributes: Option<Attributes>,
    /// How many copies of the last setting, kind and right to declare.
    repeat: Option<usize>,
}

impl Plugin for Declares {
    fn describe() -> Descriptor {
        let text = std::hint::black_box(TEXT);
        let Ok(text) = serde_json::from_slice::<Text>(&text[10..]) else {
            return guest::descriptor("declares");
        };
        let mut descriptor = guest::descriptor("declares");
        if let Some(name) = text.name {
            descriptor.name = name;
        }
        if let Some(version) = text.version {
            descriptor.version = version;
        }
        if let Some(names) = text.settings {
            descriptor
                .settings
                .extend(names.iter().map(|name| setting(name)));
        }
        if let (Some(kind), Some(last)) = (text.setting_kind, descriptor.settings.last_mut()) {
            last.kind = kind;
        }
        if let Some(names) = text.kinds {
            descriptor.kinds = names
                .into_iter()
                .map(|name| KindSpec {
                    name,
                    traits: text.traits.clone().unwrap_or_default(),
                    capabilities: vec![],
                    attributes: vec![],
                })
                .collect();
        }
        if let Some(upstreams) = text.upstreams {
            descriptor.upstreams = upstreams
                .into_iter()
                .map(|(name, kind, attributes, rights)| Upstream {
                    name,
                    kind,
                    attributes,
                    rights: rights
                        .into_iter()
                        .map(|(group, allow)| Right { group, allow })
                        .collect(),
                })
                .collect();
        }
        if let Some(attributes) = text.attributes {
            descriptor.attributes.extend(attributes);
        }
        for i in 0..text.repeat.unwrap_or(0) {
            let setting = descriptor.settings[0].clone();
            descriptor.settings.push(SettingSpec {
                name: format!("more-{i}"),
                ..setting
            });
        }
        descriptor
    }
}
