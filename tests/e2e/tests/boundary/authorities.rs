//! The name of an upstream is compared byte for byte, so no other spelling of
//! an address is one.

use serde_json::Value;

use crate::lab::{COLUMNS, Lab, get};
use crate::page::Room;

pub async fn room() -> Room {
    let lab = Lab::everything().await;
    let all = |names: &[&str]| -> Vec<Value> {
        names
            .iter()
            .map(|authority| get(authority, "/api/v1/namespaces"))
            .collect()
    };
    let scheme = |scheme: &str| {
        let mut request = get("kubernetes", "/api/v1/namespaces");
        request["scheme"] = scheme.into();
        request
    };
    let aws = lab.sim.aws_url().replace("http://", "");
    let api = &lab.sim.cluster("lab").unwrap().endpoint;
    let api = api.replace("https://", "");
    let ideas = vec![
        (
            "Another spelling of a name",
            all(&[
                "KUBERNETES",
                "kubernetes.",
                "kubernetes:80",
                "kubernetes:443",
                "user@kubernetes",
                "user:password@kubernetes",
                "kubernetes@evil.example.com",
                "kubernetes.evil.example.com",
                "kubernetes%2eevil",
                "",
            ]),
        ),
        (
            "A service that nobody declared, or an address",
            all(&[
                "sts",
                "s3",
                "localhost",
                "127.0.0.1",
                "2130706433",
                "0x7f.1",
                "[::1]",
                "[::ffff:169.254.169.254]",
                "169.254.169.254",
                "169.254.170.23",
                "metadata.google.internal",
                "eks.eu-west-1.amazonaws.com",
                "sts.amazonaws.com",
            ]),
        ),
        (
            "Another scheme",
            ["https", "HTTP", "ws", "file"].map(scheme).into(),
        ),
        (
            "The upstreams themselves, by the addresses at which they really listen",
            vec![get(&aws, "/clusters/lab"), get(&api, "/api/v1/secrets")],
        ),
    ];
    let mut groups = lab.refuses(ideas).await;
    // The system chooses the ports.
    for cell in groups.iter_mut().flat_map(|(_, rows)| rows).flatten() {
        for (address, shown) in [(&aws, "127.0.0.1:PORT"), (&api, "127.0.0.1:PORT")] {
            *cell = cell.replace(address.as_str(), shown);
        }
    }
    Room {
        title: "Another host (R6)",
        about: "A plugin names an upstream, never an address: the authority of a request equals a declared name byte for byte, or there is no request.",
        columns: COLUMNS,
        groups,
    }
}
