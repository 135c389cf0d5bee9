//! A connector that also wants sockets of its own.

mod extra {
    wit_bindgen::generate!({
        inline: "
            package test:extra@1.0.0;
            world extra { import wasi:sockets/tcp-create-socket@0.2.2; }
            package wasi:sockets@0.2.2 {
              interface tcp-create-socket {
                create-tcp-socket: func(ipv6: bool) -> result<u32, u32>;
              }
            }
        ",
        generate_all,
    });
}

use guest::{Descriptor, Plugin};

struct WantsSockets;

guest::export!(WantsSockets with_types_in guest);

impl Plugin for WantsSockets {
    fn describe() -> Descriptor {
        let mut descriptor = guest::descriptor("wants-sockets");
        let socket = extra::wasi::sockets::tcp_create_socket::create_tcp_socket(false);
        descriptor
            .attributes
            .push(("display-name".into(), format!("{socket:?}")));
        descriptor
    }
}
